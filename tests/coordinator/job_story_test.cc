#include "coordinator/job_story.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/job_event_codec.h"
#include "tests/coordinator/engine_fixture.h"

namespace chorale::coordinator {
namespace {

using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Entries as "kind sites: reason", so that tests read as transcripts.
std::string TextOf(const v1::StoryEntry& entry) {
  std::string text = v1::StoryKind_Name(entry.kind()).substr(std::string("STORY_KIND_").size());
  for (const std::string& site : entry.sites()) text += " " + site;
  if (entry.attempt() > 0) {
    text += " @" + std::to_string(entry.round()) + "/" + std::to_string(entry.attempt());
  }
  if (!entry.reason_code().empty()) text += " " + entry.reason_code();
  return text;
}

class JobStoryTest : public EngineTest {
 protected:
  void StartRound() {
    for (const char* site : {"east", "north", "south"}) Connect(site);
    v1::JobSpec spec = Spec();
    spec.mutable_rounds()->set_max_abandoned(3);
    id_ = Submit(spec);
    DoWork();
  }
  v1::ExplainJobResponse Explain(std::uint64_t first = 0) {
    auto story = engine_->Explain(id_, first);
    EXPECT_TRUE(story.ok()) << story.status();
    return *std::move(story);
  }
  std::vector<std::string> Story() {
    std::vector<std::string> texts;
    const v1::ExplainJobResponse story = Explain();
    for (const v1::StoryEntry& entry : story.entries()) texts.push_back(TextOf(entry));
    return texts;
  }
  std::vector<std::string> WaitsFor() {
    const auto reasons = Explain().waiting_for();
    return {reasons.begin(), reasons.end()};
  }
  void ReportAll(std::initializer_list<const char*> sites) {
    for (const char* site : sites) EXPECT_TRUE(Report(site).ok()) << site;
    DoWork();
  }
  JobId id_;
};

TEST_F(JobStoryTest, AnUndisturbedJobIsToldFromSubmissionToItsEnd) {
  StartRound();
  ReportAll({"east", "north", "south"});
  ReportAll({"south", "east", "north"});

  EXPECT_THAT(
      Story(),
      ElementsAre("SUBMITTED", "JOB_STARTED", "ROUND_STARTED east north south @1/1",
                  "SITE_REPORTED east @1/1", "SITE_REPORTED north @1/1", "SITE_REPORTED south @1/1",
                  "ROUND_PUBLISHED east north south @1/1", "ROUND_STARTED east north south @2/1",
                  "SITE_REPORTED south @2/1", "SITE_REPORTED east @2/1", "SITE_REPORTED north @2/1",
                  "ROUND_PUBLISHED east north south @2/1", "JOB_COMPLETED"));
  EXPECT_THAT(WaitsFor(), IsEmpty());
}

TEST_F(JobStoryTest, TellsWhoRefusedWhoWasLateAndWhyARoundWasAbandoned) {
  StartRound();
  engine_->TaskRefused(sessions_.at("east"), TaskId(Channel("east").LastTask()), {"BUSY", "no"});
  MustCommit();
  ASSERT_TRUE(Report("north").ok());
  Advance(seconds(61));

  const v1::ExplainJobResponse story = Explain();

  EXPECT_THAT(Story(), testing::IsSupersetOf({"SITE_REFUSED east @1/1 BUSY", "SITE_LATE south @1/1",
                                              "ROUND_ABANDONED north @1/1",
                                              "ROUND_STARTED east north south @1/2"}));
  for (const v1::StoryEntry& entry : story.entries()) {
    if (entry.kind() != v1::STORY_KIND_ROUND_ABANDONED) continue;
    EXPECT_THAT(entry.reason(), HasSubstr("south"));
  }
}

TEST_F(JobStoryTest, TellsOfLostConnectionsAndReturns) {
  StartRound();
  Disconnect("north");
  Connect("north");
  EXPECT_THAT(Story(),
              testing::IsSupersetOf({"SITE_DROPPED north @1/1", "SITE_RETURNED north @1/1"}));
}

TEST_F(JobStoryTest, TellsThatTheCoordinatorStartedAgainAndWhere) {
  StartRound();
  ASSERT_TRUE(Report("east").ok());
  clock_.Advance(seconds(1));
  starts_.push_back(clock_.Now());
  Restart();
  for (const char* site : {"east", "north", "south"}) Connect(site);
  ReportAll({"north", "south"});

  EXPECT_THAT(Story(), testing::IsSupersetOf(
                           {"COORDINATOR_STARTED @1/1", "ROUND_PUBLISHED east north south @1/1"}));
}

TEST_F(JobStoryTest, AStartBeforeTheJobIsNoPartOfIt) {
  starts_ = {clock_.Now() - seconds(5)};
  Restart();
  StartRound();
  EXPECT_THAT(Story(), testing::Not(Contains(HasSubstr("COORDINATOR_STARTED"))));
}

TEST_F(JobStoryTest, ARunningJobTellsWhomItWaitsForAndUntilWhen) {
  StartRound();
  ASSERT_TRUE(Report("east").ok());
  Disconnect("south");

  EXPECT_THAT(WaitsFor(), ElementsAre("north: its report, due in 1 min",
                                      HasSubstr("south: its connection was lost; the round goes on "
                                                "without it in")));
}

TEST_F(JobStoryTest, AJobThatFindsNobodyTellsWhatIsMissing) {
  Connect("east");
  id_ = Submit();
  DoWork();
  EXPECT_THAT(WaitsFor(), ElementsAre(HasSubstr("waiting for sites")));
}

TEST_F(JobStoryTest, ALongStoryIsToldInSeveralAnswersThatAddUp) {
  constexpr std::uint32_t kRounds = 9000;
  v1::JobSpec spec = Spec();
  spec.mutable_rounds()->set_count(10'000);
  id_ = JobId("j1");
  const Time now = clock_.Now();
  Batch batch;
  batch.submissions.push_back(
      {.id = id_,
       .researcher = ResearcherId("ada"),
       .idempotency_key = "key",
       .envelope = jobs::SignJob(spec, Pki().Load(v1::PARTY_ROLE_RESEARCHER, "ada")),
       .submitted_at = now});
  const auto add = [&](const JobEvent& event) {
    batch.events.push_back({id_, Encode(event, now)});
  };
  const crypto::BlobId model{16, {1}};
  add(JobStarted{model});
  for (std::uint32_t round = 1; round <= kRounds; ++round) {
    add(CohortSelected{.sites = {SiteId("east"), SiteId("north")}});
    for (const char* site : {"east", "north"}) {
      add(SiteReported{{RoundNumber(round)}, SiteId(site), {.payload = model, .num_examples = 10}});
    }
    add(RoundAggregated{.result = model});
  }
  ASSERT_TRUE(store_.Append(batch).ok());

  std::uint64_t num_entries = 0;
  int num_pages = 0;
  for (bool has_more = true; has_more; ++num_pages) {
    const v1::ExplainJobResponse page = Explain(num_entries);
    EXPECT_LT(page.ByteSizeLong(), 2u << 20);
    ASSERT_GT(page.entries_size(), 0);
    num_entries += static_cast<std::uint64_t>(page.entries_size());
    has_more = page.has_more();
  }
  EXPECT_GT(num_pages, 1);
  EXPECT_EQ(num_entries, 2 + 4u * kRounds);  // Submitted, started; four a round.

  std::uint32_t num_records = 0;
  for (bool has_more = true; has_more;) {
    const auto shown = engine_->Show(id_, num_records);
    ASSERT_TRUE(shown.ok()) << shown.status();
    EXPECT_LT(shown->ByteSizeLong(), 3u << 20);
    num_records += static_cast<std::uint32_t>(shown->rounds_size());
    has_more = shown->has_more();
  }
  EXPECT_EQ(num_records, kRounds);
}

TEST_F(JobStoryTest, ThereIsNoStoryOfAnUnknownJob) {
  EXPECT_EQ(engine_->Explain(JobId("none"), 0).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace chorale::coordinator
