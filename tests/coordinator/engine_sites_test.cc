#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/engine.h"
#include "tests/coordinator/engine_fixture.h"

namespace chorale::coordinator {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;

class EngineSitesTest : public EngineTest {
 protected:
  void StartRound() {
    Connect("east");
    Connect("north");
    Connect("south");
    id_ = Submit();
    DoWork();
  }
  v1::RoundRecord LastRound() { return *engine_->Show(id_)->rounds().rbegin(); }
  void Refuse(const std::string& site, const std::string& code) {
    engine_->TaskRefused(sessions_.at(site), TaskId(Channel(site).LastTask()), {code, "no"});
    MustCommit();
  }

  JobId id_;
};

TEST_F(EngineSitesTest, GreetsASiteWithItsHeartbeatInterval) {
  const FakeChannel& north = Connect("north");

  ASSERT_EQ(north.sent.size(), 1u);
  EXPECT_EQ(north.sent[0].hello().heartbeat_interval().seconds(), 10);
  EXPECT_FALSE(north.sent[0].hello().coordinator_version().empty());
}

TEST_F(EngineSitesTest, ANewerSessionOfASiteWins) {
  Connect("north");
  const auto older = channels_.at("north");
  Connect("north");

  ASSERT_TRUE(older->closed.has_value());
  EXPECT_EQ(older->closed->code(), StatusCode::kAborted);
  EXPECT_FALSE(Channel("north").closed.has_value());
}

TEST_F(EngineSitesTest, TheEndOfAReplacedSessionDropsNobody) {
  StartRound();
  const SessionId older = sessions_.at("north");
  Connect("north");
  engine_->SessionClosed(older);
  MustCommit();

  EXPECT_EQ(Summary(id_).current().sites(1).state(), v1::SITE_STATE_PENDING);
  EXPECT_EQ(Channel("north").NumTasks(), 1);  // Asked again on the newer session.
}

TEST_F(EngineSitesTest, ExcludesAKilledSiteAndPublishesWithTheOthers) {
  StartRound();
  Disconnect("east");
  EXPECT_TRUE(Report("north").ok());
  EXPECT_TRUE(Report("south").ok());
  EXPECT_EQ(Summary(id_).published_rounds(), 0u);  // Waits for its return.

  Advance(seconds(6));
  DoWork();

  EXPECT_EQ(Summary(id_).published_rounds(), 1u);
  EXPECT_EQ(LastRound().sites(0).state(), v1::SITE_STATE_DROPPED);
}

TEST_F(EngineSitesTest, ASiteThatComesBackTakesPartAgain) {
  StartRound();
  Disconnect("east");
  EXPECT_EQ(Connect("east").NumTasks(), 1);

  EXPECT_TRUE(Report("east").ok());
  EXPECT_TRUE(Report("north").ok());
  EXPECT_TRUE(Report("south").ok());
  DoWork();

  EXPECT_EQ(LastRound().sites(0).state(), v1::SITE_STATE_REPORTED);
}

TEST_F(EngineSitesTest, TellsAReturningSiteWhichOfItsTasksAreClosed) {
  const FakeChannel& north = Connect("north", {TaskId("j0/1/1/north")});

  EXPECT_EQ(north.NumCancelled(), 1);
}

TEST_F(EngineSitesTest, TellsTheSitesOfAPrivateJobThatItHasEnded) {
  for (const char* site : {"east", "north", "south", "west"}) Connect(site);
  v1::JobSpec spec = support::PrivateJob();
  spec.mutable_rounds()->set_cohort_size(3);
  id_ = Submit(spec);
  DoWork();
  Disconnect("east");

  engine_->Cancel(id_, ResearcherId("ada"), [](const auto&) {});
  EXPECT_THAT(Channel("north").EndedJobs(), IsEmpty());  // Not before it is durable.
  MustCommit();

  int num_told = 0;
  for (const char* site : {"north", "south", "west"}) {
    const bool was_asked = Channel(site).NumTasks() > 0;
    EXPECT_THAT(Channel(site).EndedJobs(),
                ElementsAreArray(std::vector<std::string>(was_asked ? 1 : 0, id_.value())))
        << site;
    num_told += was_asked ? 1 : 0;
  }
  EXPECT_GE(num_told, 2);
}

TEST_F(EngineSitesTest, TellsAReturningSiteWhichOfItsJobsHaveEnded) {
  StartRound();
  const JobId other = Submit();
  engine_->Cancel(id_, ResearcherId("ada"), [](const auto&) {});
  MustCommit();

  const FakeChannel& north = Connect("north", {}, "", {id_, other, JobId("j0")});

  EXPECT_THAT(north.EndedJobs(), ElementsAre(id_.value()));
}

TEST_F(EngineSitesTest, ShowsARefusalWithItsCode) {
  StartRound();
  Refuse("east", "MODEL_NOT_ALLOWED");

  const v1::SiteProgress east = Summary(id_).current().sites(0);
  EXPECT_EQ(east.state(), v1::SITE_STATE_REFUSED);
  EXPECT_EQ(east.reason_code(), "MODEL_NOT_ALLOWED");
}

TEST_F(EngineSitesTest, DoesNotAskASiteAgainThatRefusedForGood) {
  StartRound();
  Refuse("east", "MODEL_NOT_ALLOWED");
  EXPECT_TRUE(Report("north").ok());
  EXPECT_TRUE(Report("south").ok());
  DoWork();

  EXPECT_EQ(Channel("east").NumTasks(), 1);
  EXPECT_EQ(Channel("north").NumTasks(), 2);
}

TEST_F(EngineSitesTest, AsksASiteAgainThatWasBusy) {
  StartRound();
  Refuse("east", "BUSY");
  EXPECT_TRUE(Report("north").ok());
  EXPECT_TRUE(Report("south").ok());
  DoWork();

  EXPECT_EQ(Channel("east").NumTasks(), 2);
}

TEST_F(EngineSitesTest, FailsTheJobWhenTooManySitesRefuseForGood) {
  v1::JobSpec spec = Spec();
  spec.mutable_rounds()->set_max_abandoned(5);
  Connect("east");
  Connect("north");
  Connect("south");
  id_ = Submit(spec);
  DoWork();
  for (const char* site : {"east", "north", "south"}) Refuse(site, "MODEL_NOT_ALLOWED");

  EXPECT_EQ(Summary(id_).state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(Summary(id_).reason(), HasSubstr("east refused (MODEL_NOT_ALLOWED)"));
}

TEST_F(EngineSitesTest, ExcludesASiteWhoseUpdateIsNotSound) {
  StartRound();
  const OpenTask task = *tasks_->Find(TaskId(Channel("east").LastTask()), SiteId("east"));
  engine_->ReportRefused(task, {"INVALID_UPDATE", "the update must be finite"});
  EXPECT_TRUE(Report("north").ok());
  EXPECT_TRUE(Report("south").ok());
  DoWork();

  EXPECT_EQ(Summary(id_).published_rounds(), 1u);
  EXPECT_EQ(LastRound().sites(0).reason_code(), "INVALID_UPDATE");
}

TEST_F(EngineSitesTest, RefusesAReportAfterTheDeadline) {
  StartRound();
  EXPECT_TRUE(Report("north").ok());
  EXPECT_TRUE(Report("south").ok());
  Advance(seconds(61));

  EXPECT_EQ(Report("east").code(), StatusCode::kFailedPrecondition);
  DoWork();
  EXPECT_EQ(LastRound().sites(0).state(), v1::SITE_STATE_STRAGGLER);
}

TEST_F(EngineSitesTest, EndsASessionAfterThreeMissedHeartbeats) {
  StartRound();
  for (int i = 0; i < 4; ++i) {
    clock_.Advance(seconds(10));
    Channel("north").Speak();
    Channel("south").Speak();
    MustCommit();
  }

  ASSERT_TRUE(Channel("east").closed.has_value());
  EXPECT_EQ(Channel("east").closed->code(), StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(Channel("north").closed.has_value());
  EXPECT_EQ(Summary(id_).current().sites(0).state(), v1::SITE_STATE_DROPPED);
  Advance(seconds(10));
  EXPECT_TRUE(Channel("east").is_killed);
}

TEST_F(EngineSitesTest, BoundsSessionsWithoutAHello) {
  std::vector<std::shared_ptr<FakeChannel>> channels;
  for (int i = 0; i < 5; ++i) {
    channels.push_back(std::make_shared<FakeChannel>(clock_));
    engine_->SessionOpened(SessionId(100 + i), {.site = SiteId("north"),
                                                .certificate = nullptr,
                                                .channel = channels.back(),
                                                .greeting = {}});
  }

  EXPECT_FALSE(channels[3]->closed.has_value());
  ASSERT_TRUE(channels[4]->closed.has_value());
  EXPECT_EQ(channels[4]->closed->code(), StatusCode::kResourceExhausted);
}

TEST_F(EngineSitesTest, EndsASessionThatGreetsTwice) {
  Connect("north");
  engine_->SessionGreeted(sessions_.at("north"), {.agent_version = "0.1.0"});

  EXPECT_EQ(Channel("north").closed->code(), StatusCode::kInvalidArgument);
}

TEST_F(EngineSitesTest, DoesNotUseUpItsAttemptsInAMoment) {
  Connect("north");
  Connect("south");
  v1::JobSpec spec = Spec();
  spec.mutable_rounds()->set_max_abandoned(9);
  id_ = Submit(spec);
  DoWork();
  const auto refuse = [this] {
    for (const char* site : {"north", "south"}) {
      engine_->TaskRefused(sessions_.at(site), TaskId(Channel(site).LastTask()),
                           {"TASK_EXPIRED", "the clock is wrong"});
    }
    MustCommit();
  };
  refuse();
  EXPECT_EQ(Channel("north").NumTasks(), 2);  // At once.
  refuse();
  EXPECT_EQ(Channel("north").NumTasks(), 2);
  EXPECT_THAT(Summary(id_).reason(), HasSubstr("pausing"));
  EXPECT_EQ(engine_->UntilNextTimer(), seconds(1));

  Advance(seconds(1));
  EXPECT_EQ(Channel("north").NumTasks(), 3);
}

TEST_F(EngineSitesTest, GreetsWithTheClockThatDeadlinesGoBy) {
  clock_.StepWall(std::chrono::hours(1));
  StartRound();

  const std::vector<v1::CoordinatorMessage>& sent = Channel("north").sent;
  ASSERT_TRUE(sent.front().has_hello());
  ASSERT_TRUE(sent.back().has_task());
  EXPECT_EQ(sent.back().task().report_deadline().seconds() - sent.front().hello().clock().seconds(),
            60);
}

TEST_F(EngineSitesTest, ListsEverySiteOfTheRoster) {
  Connect("north");
  Connect("south");
  Disconnect("south");

  const std::vector<v1::SiteSummary> sites = engine_->Sites();

  ASSERT_EQ(sites.size(), 4u);
  EXPECT_FALSE(sites[0].has_last_seen());
  EXPECT_TRUE(sites[1].is_connected());
  EXPECT_FALSE(sites[2].is_connected());
  EXPECT_TRUE(sites[2].has_last_seen());
  EXPECT_EQ(sites[2].agent_version(), "0.1.0");
}

TEST_F(EngineSitesTest, TellsEverybodyThatItStops) {
  const FakeChannel& north = Connect("north");
  engine_->Drain();

  EXPECT_TRUE(north.sent.back().has_draining());
  EXPECT_EQ(north.closed->code(), StatusCode::kUnavailable);
  auto late = std::make_shared<FakeChannel>(clock_);
  engine_->SessionOpened(
      SessionId(99),
      {.site = SiteId("south"), .certificate = nullptr, .channel = late, .greeting = {}});
  EXPECT_EQ(late->closed->code(), StatusCode::kUnavailable);
}

class FakeWatcher final : public JobWatcher {
 public:
  void Wake() override { ++num_wakes; }
  void Close(const Status&) override { is_closed = true; }
  int num_wakes = 0;
  bool is_closed = false;
};

TEST_F(EngineSitesTest, WakesWatchersAfterEachChangeUntilTheEnd) {
  StartRound();
  const auto watcher = std::make_shared<FakeWatcher>();
  ASSERT_TRUE(engine_->Watch(id_, watcher).ok());
  EXPECT_TRUE(Report("north").ok());
  EXPECT_EQ(watcher->num_wakes, 1);
  Advance(seconds(61));

  EXPECT_EQ(engine_->Watch(id_, watcher).code(), StatusCode::kFailedPrecondition);
  const auto update = engine_->UpdateSince(id_, 0);
  ASSERT_TRUE(update.ok()) << update.status();
  EXPECT_TRUE(update->has_ended);
  EXPECT_EQ(update->rounds.size(), 1u);
}

TEST_F(EngineSitesTest, AWatcherThatLeavesIsNotWoken) {
  StartRound();
  const auto watcher = std::make_shared<FakeWatcher>();
  ASSERT_TRUE(engine_->Watch(id_, watcher).ok());
  engine_->Unwatch(id_, watcher.get());
  EXPECT_TRUE(Report("north").ok());

  EXPECT_EQ(watcher->num_wakes, 0);
}

}  // namespace
}  // namespace chorale::coordinator
