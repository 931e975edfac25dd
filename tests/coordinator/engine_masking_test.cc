#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "core/rpc/chunks.h"
#include "tests/coordinator/engine_masking_fixture.h"

namespace chorale::coordinator {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Means of 1, 2, 3, 4 weighted by 10, 20, 30, 40.
constexpr float kMeanOfAll = 3.0f;

TEST_F(EngineMaskingTest, AJobPublishesTheMeanOfWhatItCannotRead) {
  const JobId id = Start(MaskedSpec());
  ExchangeKeys();
  DoRound();
  DoRound();  // The session goes on: no keys are exchanged.

  const v1::ShowJobResponse shown = Shown(id);
  EXPECT_EQ(shown.job().state(), v1::JOB_STATE_COMPLETED) << shown.job().reason();
  ASSERT_EQ(shown.rounds_size(), 2);
  for (const v1::RoundRecord& record : shown.rounds()) {
    EXPECT_TRUE(record.published());
    EXPECT_EQ(record.num_examples(), 100u);
    EXPECT_EQ(record.secagg_session().size(), 32u);
    EXPECT_EQ(record.sites_size(), 4);
  }
  EXPECT_EQ(shown.rounds(0).secagg_session(), shown.rounds(1).secagg_session());
  EXPECT_THAT(ModelOf(id), Each(testing::FloatEq(2 * kMeanOfAll)));
}

TEST_F(EngineMaskingTest, NoTaskAndNoReportHoldsANumberOfOneSite) {
  Start(MaskedSpec());
  ExchangeKeys();
  const auto task = tasks_->Find(TaskId(Task("north").task_id()), SiteId("north"));
  ASSERT_TRUE(task.ok());
  EXPECT_TRUE(task->is_masked);
  EXPECT_TRUE(Do("north").ok());
  // What the coordinator keeps of the report.
  const auto again = tasks_->Find(TaskId(Task("north").task_id()), SiteId("north"));
  ASSERT_TRUE(again.ok() && again->report.has_value());
  EXPECT_EQ(again->report->num_examples, 0u);
  EXPECT_THAT(again->report->metrics, IsEmpty());
}

TEST_F(EngineMaskingTest, ASiteThatDropsOutAfterTheStartIsTakenOutOfTheSum) {
  const JobId id = Start(MaskedSpec(1));
  ExchangeKeys();
  DoStep({"east", "north", "south"});
  Disconnect("west");
  Advance(std::chrono::seconds(7));  // The reconnect grace.
  DoWork();
  DoStep({"east", "north", "south"});
  DoWork();
  DoStep({"east", "north", "south"});
  DoWork();

  const v1::ShowJobResponse shown = Shown(id);
  EXPECT_EQ(shown.job().state(), v1::JOB_STATE_COMPLETED) << shown.job().reason();
  const v1::RoundRecord& record = shown.rounds(0);
  EXPECT_EQ(record.num_examples(), 60u);
  EXPECT_EQ(StatesOf(record)["west"], v1::SITE_STATE_DROPPED);
  EXPECT_EQ(StatesOf(record)["east"], v1::SITE_STATE_REPORTED);
  EXPECT_THAT(ModelOf(id), Each(testing::FloatEq((10.0f + 40 + 90) / 60)));
}

TEST_F(EngineMaskingTest, ASiteThatDropsOutAfterItsReportStaysInTheSum) {
  const JobId id = Start(MaskedSpec(1));
  ExchangeKeys();
  DoStep(kSites);
  DoWork();
  Disconnect("west");
  DoStep({"east", "north", "south"});
  Advance(std::chrono::seconds(3));
  DoWork();
  DoStep({"east", "north", "south"});
  DoWork();
  const v1::RoundRecord record = Shown(id).rounds(0);
  EXPECT_EQ(record.num_examples(), 100u);
  EXPECT_EQ(StatesOf(record)["west"], v1::SITE_STATE_REPORTED);
  EXPECT_THAT(ModelOf(id), Each(testing::FloatEq(kMeanOfAll)));
}

TEST_F(EngineMaskingTest, ASumThatWasBegunToBeRevealedIsTriedAgainOverTheSameSites) {
  const JobId id = Start(MaskedSpec(2));
  ExchangeKeys();
  DoStep({"east", "north", "south"});
  Disconnect("west");
  Advance(std::chrono::seconds(7));
  DoWork();
  DoStep({"east", "north", "south"});
  DoWork();
  DoStep({"east", "north"});  // They have revealed their part: a sum with west in it they refuse.
  Connect("west");
  Advance(std::chrono::seconds(12));  // A fifth of the round's deadline.
  ASSERT_EQ(Shown(id).rounds_size(), 1);
  EXPECT_THAT(Shown(id).rounds(0).reason(), HasSubstr("in step unmasking"));

  const std::vector<std::string> same = {"east", "north", "south"};
  EXPECT_EQ(Channel("west").NumTasks(), 0);
  DoRound(same);
  ASSERT_EQ(Shown(id).rounds_size(), 2);
  EXPECT_TRUE(Shown(id).rounds(1).published());
  EXPECT_EQ(Channel("west").NumTasks(), 1);  // The next round reveals another sum.
}

TEST_F(EngineMaskingTest, BelowTheThresholdTheRoundIsAbandonedAndNothingIsRevealed) {
  const JobId id = Start(MaskedSpec(1));
  ExchangeKeys();
  DoStep({"east", "north"});
  Disconnect("south");
  Disconnect("west");
  Advance(std::chrono::seconds(7));
  const v1::ShowJobResponse shown = Shown(id);
  ASSERT_EQ(shown.rounds_size(), 1);
  EXPECT_FALSE(shown.rounds(0).published());
  EXPECT_THAT(shown.rounds(0).reason(), HasSubstr("2 of the 3 reports needed arrived"));
  EXPECT_FALSE(engine_->FindModel(id).ok());
}

TEST_F(EngineMaskingTest, ASiteThatStartedAgainGetsANewSessionInTheNextRound) {
  const JobId id = Start(MaskedSpec(2));
  ExchangeKeys();
  sites_["west"]->Restart();
  DoStep({"east", "north", "south"});
  engine_->TaskRefused(sessions_.at("west"), TaskId(Task("west").task_id()),
                       {"SESSION_LOST", "no secrets"});
  MustCommit();
  DoWork();
  DoStep({"east", "north", "south"});
  DoWork();
  DoStep({"east", "north", "south"});
  DoWork();
  ASSERT_TRUE(Task("west").has_advertise_keys()) << Task("west").ShortDebugString();
  ExchangeKeys();
  DoRound();
  const v1::ShowJobResponse shown = Shown(id);
  EXPECT_EQ(shown.job().state(), v1::JOB_STATE_COMPLETED) << shown.job().reason();
  EXPECT_EQ(StatesOf(shown.rounds(0))["west"], v1::SITE_STATE_REFUSED);
  EXPECT_EQ(shown.rounds(1).num_examples(), 100u);
  EXPECT_NE(shown.rounds(0).secagg_session(), shown.rounds(1).secagg_session());
}

TEST_F(EngineMaskingTest, AnAgentThatSaysItIsAnotherProcessNeedNotBeAskedInVain) {
  for (const std::string& site : kSites) Connect(site, {}, "first");
  const JobId id = Start(MaskedSpec(3));
  ExchangeKeys();
  DoRound();
  // The same process, connected again: its secrets are still there.
  Connect("west", {TaskId(Task("west").task_id())}, "first");
  DoRound();
  EXPECT_EQ(Shown(id).rounds(0).secagg_session(), Shown(id).rounds(1).secagg_session());

  EXPECT_FALSE(Task("west").has_advertise_keys());
  sites_["west"]->Restart();
  Connect("west", {}, "second");
  engine_->TaskRefused(sessions_.at("west"), TaskId(Task("west").task_id()),
                       {"SESSION_LOST", "no secrets"});
  MustCommit();
  const std::vector<std::string> others = {"east", "north", "south"};
  DoRound(others);
  EXPECT_EQ(Shown(id).job().state(), v1::JOB_STATE_COMPLETED) << Shown(id).job().reason();
}

TEST_F(EngineMaskingTest, ARoundAfterAnAgentsRestartBeginsWithNewKeys) {
  for (const std::string& site : kSites) Connect(site, {}, "first");
  spec_ = MaskedSpec(2);
  spec_.mutable_rounds()->set_min_reports(3);
  const JobId id = Start(spec_);
  ExchangeKeys();
  DoStep({"east", "north", "south"});
  Disconnect("west");
  Advance(std::chrono::seconds(7));
  DoWork();
  sites_["west"]->Restart();
  Connect("west", {}, "second");  // Back before the round has ended.
  DoStep({"east", "north", "south"});
  DoWork();
  DoStep({"east", "north", "south"});
  DoWork();
  ASSERT_TRUE(Task("west").has_advertise_keys()) << Task("west").ShortDebugString();
  ExchangeKeys();
  DoRound();
  EXPECT_EQ(Shown(id).job().state(), v1::JOB_STATE_COMPLETED) << Shown(id).job().reason();
  EXPECT_EQ(Shown(id).rounds(1).num_examples(), 100u);
}

// In each step of three rounds, the first of which begins with three steps of keys.
class RestartTest : public EngineMaskingTest, public testing::WithParamInterface<int> {};

TEST_P(RestartTest, GoesOnInTheStepThatTheRoundWasIn) {
  constexpr int kStepsBeforeTheLastRound = 9;
  // Whether the sites have started again too, the new process cannot know: keys come before its
  // next round.
  const int num_steps = GetParam() < kStepsBeforeTheLastRound ? 15 : 12;
  const JobId id = Start(MaskedSpec(3));
  for (int step = 0; step < num_steps; ++step) {
    if (step != GetParam()) {
      DoStep(kSites);
      DoWork();
      continue;
    }
    DoStep({"east", "north"});
    Restart();
    for (const std::string& site : kSites) Connect(site, {}, "the same process");
    DoStep({"south", "west"});
    DoWork();
  }
  const v1::ShowJobResponse shown = Shown(id);
  EXPECT_EQ(shown.job().state(), v1::JOB_STATE_COMPLETED) << shown.job().reason();
  EXPECT_THAT(ModelOf(id), Each(testing::FloatEq(3 * kMeanOfAll)));
  ASSERT_EQ(shown.rounds_size(), 3);
  for (const v1::RoundRecord& record : shown.rounds()) EXPECT_EQ(record.num_examples(), 100u);
}

INSTANTIATE_TEST_SUITE_P(EveryStep, RestartTest, testing::Range(0, 12));

TEST_F(EngineMaskingTest, ACoordinatorThatStartsAgainWhileAStepIsClosedClosesItAgain) {
  const JobId id = Start(MaskedSpec(1));
  for (int step = 0; step < 6; ++step) {
    DoStep(kSites);
    Restart();
    for (const std::string& site : kSites) Connect(site);
    DoWork();
  }
  const v1::ShowJobResponse shown = Shown(id);
  EXPECT_EQ(shown.job().state(), v1::JOB_STATE_COMPLETED) << shown.job().reason();
  EXPECT_EQ(shown.rounds_size(), 1);
  EXPECT_THAT(ModelOf(id), Each(testing::FloatEq(kMeanOfAll)));
}

TEST_F(EngineMaskingTest, ASessionIsKeptAsLongAsItIsOfUse) {
  const auto num_kept = [this] { return store_.ListBlobs()->size(); };
  const JobId id = Start(MaskedSpec(3));
  ExchangeKeys();
  DoRound();
  const std::size_t after_one = num_kept();
  EXPECT_GE(after_one, 13u);  // A manifest, and three messages of each of four sites.
  DoRound();
  EXPECT_EQ(num_kept(), after_one);
  DoRound();
  EXPECT_EQ(Shown(id).job().state(), v1::JOB_STATE_COMPLETED) << Shown(id).job().reason();
  EXPECT_LE(num_kept(), 2u);
}

TEST_F(EngineMaskingTest, ACoordinatorThatCannotMakeTheSessionAgainBeginsTheRoundAnewAndSaysWhy) {
  const JobId id = Start(MaskedSpec(1));
  ExchangeKeys();
  DoStep({"east", "north"});
  store_.load_failure = DataLoss("the disk has a hole");
  Restart();
  store_.load_failure = OkStatus();
  // The round begins with the first three that are back.
  const std::vector<std::string> back = {"east", "north", "south"};
  for (const std::string& site : back) Connect(site);
  ASSERT_TRUE(Task("east").has_advertise_keys());
  ExchangeKeys(back);
  DoRound(back);
  const v1::ShowJobResponse shown = Shown(id);
  EXPECT_EQ(shown.job().state(), v1::JOB_STATE_COMPLETED) << shown.job().reason();
  ASSERT_EQ(shown.rounds_size(), 2);
  EXPECT_THAT(shown.rounds(0).reason(), HasSubstr("has lost the round's session"));
  EXPECT_THAT(shown.rounds(0).reason(), HasSubstr("the disk has a hole"));
  EXPECT_EQ(shown.rounds(1).num_examples(), 60u);
  EXPECT_THAT(ModelOf(id), Each(testing::FloatEq((10.0f + 40 + 90) / 60)));
}

TEST_F(EngineMaskingTest, AfterAFailedCommitNobodyIsBlamedForTheLostSession) {
  const JobId id = Start(MaskedSpec(1));
  store_.append_failure = ResourceExhausted("disk full");
  EXPECT_EQ(Send("east", Bytes(8, 1), "").code(), StatusCode::kUnavailable);
  // The manifest is gone with the session for now: who asks for it is told to try again.
  const std::string lost = Task("north").task_id();
  EXPECT_EQ(tasks_->Find(TaskId(lost), SiteId("north")).status().code(), StatusCode::kUnavailable);
  store_.append_failure = OkStatus();
  engine_->TaskRefused(sessions_.at("north"), TaskId(lost), {"TASK_INVALID", "no such blob"});
  Connect("south");  // Nor is anybody asked again who comes back meanwhile.
  EXPECT_EQ(Channel("south").NumTasks(), 0);
  Advance(std::chrono::seconds(1));
  MustCommit();

  // The session was made again of what is stored.
  ASSERT_TRUE(Task("north").has_advertise_keys());
  EXPECT_EQ(Task("north").task_id(), lost);
  ExchangeKeys();
  DoRound();
  EXPECT_EQ(Shown(id).job().state(), v1::JOB_STATE_COMPLETED) << Shown(id).job().reason();
}

TEST_F(EngineMaskingTest, AReportThatIsNotWhatItsSiteSignedIsLeftOut) {
  const JobId id = Start(MaskedSpec(1));
  ExchangeKeys();
  DoStep({"east", "north", "south"});
  const std::vector<float> update(kNumParameters, 4.0f);
  const v1::Task task = Task("west");
  auto report = sites_["west"]->Report(
      task, spec_,
      crypto::DigestFromBytes(AsBytes(task.training().global_model().digest())).value(),
      jobs::MaskedKind::kUpdate, kNumParameters, {.update = update, .num_examples = 40},
      clock_.WallNow());
  ASSERT_TRUE(report.ok()) << report.status();
  report->vector[0] ^= 1;
  EXPECT_TRUE(Send("west", report->vector, report->masked_input).ok());
  DoWork();
  DoStep({"east", "north", "south"});
  DoWork();
  DoStep({"east", "north", "south"});
  DoWork();
  const v1::RoundRecord record = Shown(id).rounds(0);
  EXPECT_TRUE(record.published());
  EXPECT_EQ(record.num_examples(), 60u);
  EXPECT_EQ(StatesOf(record)["west"], v1::SITE_STATE_REFUSED);
}

TEST_F(EngineMaskingTest, TwoSitesAreTooFew) {
  Disconnect("west");
  Disconnect("south");
  const JobId id = Start(MaskedSpec(1));
  EXPECT_THAT(Summary(id).reason(), HasSubstr("2 of 3"));
}

TEST_F(EngineMaskingTest, TheStepUnderWayIsShown) {
  const JobId id = Start(MaskedSpec(1));
  EXPECT_EQ(Summary(id).current().step(), "advertise keys");
  ExchangeKeys();
  EXPECT_EQ(Summary(id).current().step(), "report");
}

TEST_F(EngineMaskingTest, AHundredRoundsTakeOneSessionAndTheNextTakesAnother) {
  const JobId id = Start(MaskedSpec(101));
  ExchangeKeys();
  for (int round = 1; round <= 100; ++round) DoRound();
  ASSERT_TRUE(Task("north").has_advertise_keys());
  ExchangeKeys();
  DoRound();
  EXPECT_EQ(Shown(id).job().state(), v1::JOB_STATE_COMPLETED);
}

}  // namespace
}  // namespace chorale::coordinator
