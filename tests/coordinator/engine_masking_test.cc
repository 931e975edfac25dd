#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "core/rpc/chunks.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/privacy_spec.h"
#include "jobs/private_newton.h"
#include "secagg/refusal.h"
#include "tests/coordinator/engine_fixture.h"
#include "tests/coordinator/masked_site.h"
#include "tests/support/valid_job.h"
#include "training/newton_patients.h"

// Jobs under secure aggregation, from submission to their end, with everything real but network,
// clock and training.
namespace chorale::coordinator {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kNumParameters = 4;
const std::vector<std::string> kSites = {"east", "north", "south", "west"};

class EngineMaskingTest : public EngineTest {
 protected:
  EngineMaskingTest() {
    std::uint64_t seed = 1;
    for (const std::string& site : kSites) {
      sites_[site] = std::make_unique<MaskedSite>(Pki().Load(v1::PARTY_ROLE_SITE, site),
                                                  Coordinator().party().signing_key, seed++);
      Connect(site);
    }
  }

  static v1::JobSpec MaskedSpec(std::uint32_t num_rounds = 2) {
    v1::JobSpec spec = Spec();
    spec.clear_secure_aggregation();
    spec.mutable_rounds()->set_count(num_rounds);
    spec.mutable_rounds()->set_max_abandoned(2);
    return spec;
  }

  const v1::Task& Task(const std::string& site) {
    const auto& sent = Channel(site).sent;
    for (auto message = sent.rbegin(); message != sent.rend(); ++message) {
      if (message->has_task()) return message->task();
    }
    ADD_FAILURE() << site << " was sent no task";
    static const v1::Task kNone;
    return kNone;
  }

  Status Send(const std::string& site, ByteSpan payload, std::string masked_input) {
    const auto task = tasks_->Find(TaskId(Task(site).task_id()), SiteId(site));
    if (!task.ok()) return task.status();
    CHORALE_ASSIGN_OR_RETURN(HeldPayload held, Write(*payloads_, payload));
    coordinator::Report report{.payload = held.id(), .masked_input = std::move(masked_input)};
    std::optional<Status> answer;
    engine_->Reported(*task, std::move(report), std::move(held),
                      [&answer](Status status) { answer = std::move(status); });
    (void)Commit();
    return answer.value_or(Internal("no answer"));
  }

  Bytes Read(const v1::BlobDescriptor& descriptor) {
    const auto reader = payloads_->Find(*rpc::FromProto(descriptor));
    EXPECT_TRUE(reader.ok()) << reader.status();
    Bytes bytes(descriptor.size_bytes());
    EXPECT_TRUE(reader->ReadAt(0, bytes).ok());
    return bytes;
  }

  // Answers the site's present task: a message, or a report of updates that are all `value`.
  Status Do(const std::string& site, float value = 1, std::uint64_t num_examples = 10) {
    const v1::Task task = Task(site);
    if (task.has_training()) {
      const std::vector<float> update(kNumParameters, value);
      std::vector<std::int64_t> gradients(kNumParameters + 1, 0);
      gradients.back() = votes_;
      const jobs::SiteNumbers numbers =
          spec_.has_privacy() ? jobs::SiteNumbers{.gradient_sum = gradients}
                              : jobs::SiteNumbers{.update = update, .num_examples = num_examples};
      CHORALE_ASSIGN_OR_RETURN(
          const MaskedSite::MaskedReport report,
          sites_.at(site)->Report(
              task, spec_,
              crypto::DigestFromBytes(AsBytes(task.training().global_model().digest())).value(),
              jobs::MaskedKind::kUpdate, kNumParameters, numbers, clock_.WallNow()));
      return Send(site, report.vector, report.masked_input);
    }
    const v1::BlobDescriptor& message =
        task.has_advertise_keys()       ? task.advertise_keys().manifest()
        : task.has_share_keys()         ? task.share_keys().directory()
        : task.has_acknowledge_shares() ? task.acknowledge_shares().delivery()
        : task.has_consistency_check()  ? task.consistency_check().survivors()
                                        : task.unmasking().signatures();
    CHORALE_ASSIGN_OR_RETURN(const Bytes answer,
                             sites_.at(site)->Answer(task, Read(message), clock_.WallNow()));
    return Send(site, answer, "");
  }
  // One step with these sites, each with another value and number of examples.
  void DoStep(const std::vector<std::string>& sites) {
    for (const std::string& site : sites) {
      const auto place =
          static_cast<float>(std::find(kSites.begin(), kSites.end(), site) - kSites.begin());
      const Status done = Do(site, place + 1, 10 * static_cast<std::uint64_t>(place + 1));
      EXPECT_TRUE(done.ok()) << site << ": " << done;
    }
  }
  // The steps of a session's beginning, then those of a round.
  void ExchangeKeys(const std::vector<std::string>& sites = kSites) {
    for (int step = 0; step < 3; ++step) {
      DoStep(sites);
      DoWork();
    }
  }
  void DoRound(const std::vector<std::string>& sites = kSites) {
    for (int step = 0; step < 3; ++step) {
      DoStep(sites);
      DoWork();
    }
  }

  JobId Start(const v1::JobSpec& spec) {
    spec_ = spec;
    const JobId id = Submit(spec);
    DoWork();
    return id;
  }
  std::vector<float> ModelOf(const JobId& id) {
    const auto model = engine_->FindModel(id);
    EXPECT_TRUE(model.ok()) << model.status();
    Bytes bytes(model->reader.size_bytes());
    EXPECT_TRUE(model->reader.ReadAt(0, bytes).ok());
    return *ParametersFromBytes(bytes);
  }
  std::map<std::string, v1::SiteState> StatesOf(const v1::RoundRecord& record) {
    std::map<std::string, v1::SiteState> states;
    for (const v1::SiteProgress& site : record.sites()) states[site.site()] = site.state();
    return states;
  }
  v1::ShowJobResponse Shown(const JobId& id) { return *engine_->Show(id); }

  v1::JobSpec spec_;
  std::int64_t votes_ = 0;  // Of every site, in steps; of private jobs whose clipping adapts.
  std::map<std::string, std::unique_ptr<MaskedSite>> sites_;
};

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

// ---------------------------------------------------------------------------- clipping that adapts

class EngineClippingTest : public EngineMaskingTest {
 protected:
  static v1::JobSpec AdaptiveSpec() {
    v1::JobSpec spec = support::PrivateJob();
    spec.mutable_rounds()->set_count(3);
    spec.mutable_rounds()->set_max_abandoned(2);
    spec.mutable_privacy()->set_noise_multiplier(10);
    spec.mutable_privacy()->set_clipping(v1::CLIPPING_ADAPTIVE);
    spec.mutable_privacy()->mutable_adaptive_clipping()->set_initial_norm(0.5);
    return spec;
  }
  // Makes every site's vote that of so many patients, for (or against) the norm.
  void VoteFor(double patients) {
    const auto grid = jobs::GridOf(spec_.privacy(), kNumParameters);
    const double steps = jobs::ClippingScaleOf(spec_.privacy(), *grid)->count_norm / grid->step();
    votes_ = static_cast<std::int64_t>(patients * steps);
  }
  double NormTold(const std::string& site = "north") {
    return Task(site).training().clipping_norm();
  }
};

TEST_F(EngineClippingTest, SitesAreToldTheNormThatTheirVotesMade) {
  const JobId id = Start(AdaptiveSpec());
  ExchangeKeys();
  EXPECT_EQ(NormTold(), 0.5);
  VoteFor(-10);  // Of an expected batch of 100, four sites: b = 0.5 - 40 / 200.
  DoRound();
  const double second = 0.5 * std::exp(0.2 * 0.2);
  EXPECT_DOUBLE_EQ(NormTold(), second);
  VoteFor(25);  // All of the batch.
  DoRound();
  EXPECT_DOUBLE_EQ(NormTold(), second * std::exp(-0.2 * 0.5));
  DoRound();

  const v1::ShowJobResponse shown = Shown(id);
  EXPECT_EQ(shown.job().state(), v1::JOB_STATE_COMPLETED) << shown.job().reason();
  EXPECT_EQ(shown.rounds(0).clipping_norm(), 0.5);
  EXPECT_DOUBLE_EQ(shown.rounds(1).clipping_norm(), second);
}

TEST_F(EngineClippingTest, TheNormSurvivesARestartAndARoundThatIsAbandoned) {
  const JobId id = Start(AdaptiveSpec());
  ExchangeKeys();
  VoteFor(-10);
  DoRound();
  const double norm = NormTold();
  EXPECT_NE(norm, 0.5);
  Restart();
  for (const std::string& site : kSites) Connect(site, {}, "the same process");
  EXPECT_EQ(NormTold(), norm);

  DoStep({"east"});
  Advance(std::chrono::seconds(61));  // The others are late.
  ASSERT_EQ(Shown(id).rounds_size(), 2);
  EXPECT_FALSE(Shown(id).rounds(1).published());
  ExchangeKeys();
  EXPECT_EQ(NormTold(), norm);
  DoRound();
  EXPECT_EQ(Shown(id).rounds(2).clipping_norm(), norm);
}

TEST_F(EngineClippingTest, SitesThatWereToldTwoNormsDoNotTakePart) {
  Start(AdaptiveSpec());
  ExchangeKeys();
  v1::Task lie = Task("north");
  lie.mutable_training()->set_clipping_norm(0.6);
  const std::vector<std::int64_t> gradients(kNumParameters + 1, 0);
  const auto report = sites_["north"]->Report(
      lie, spec_, crypto::DigestFromBytes(AsBytes(lie.training().global_model().digest())).value(),
      jobs::MaskedKind::kUpdate, kNumParameters, {.gradient_sum = gradients}, clock_.WallNow());
  // The round's start is signed for another task.
  EXPECT_EQ(secagg::RefusalOf(report.status()), secagg::RefusalCode::kParametersNotApproved)
      << report.status();
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

class EngineNoisyNewtonTest : public EngineMaskingTest {
 protected:
  static constexpr std::uint64_t kCoefficients = 4;

  static v1::JobSpec NewtonSpec() {
    v1::JobSpec spec = support::PrivateNewtonJob();
    spec.mutable_rounds()->set_count(2);
    EXPECT_TRUE(jobs::CalibrateNoise(spec).ok());
    return spec;
  }
  // Reports sums that say this gradient, in every coordinate, and this multiple of the unit matrix.
  Status ReportSums(const std::string& site, double gradient, double hessian) {
    const training::NewtonBounds bounds = jobs::NewtonBoundsOf(spec_, kCoefficients);
    const double step =
        jobs::GridOf(jobs::NewtonSumOf(spec_, kCoefficients), spec_.privacy())->step();
    std::vector<std::int64_t> sums(training::NewtonVectorSize(kCoefficients));
    std::size_t place = 0;
    for (; place < kCoefficients; ++place) {
      sums[place] =
          std::llround(gradient * std::sqrt(1 - bounds.hessian_share) / bounds.gradient / step);
    }
    for (std::size_t i = 0; i < kCoefficients; place += kCoefficients - i++) {
      sums[place] = std::llround(hessian * std::sqrt(bounds.hessian_share) / bounds.hessian / step);
    }
    const v1::Task task = Task(site);
    CHORALE_ASSIGN_OR_RETURN(
        const MaskedSite::MaskedReport report,
        sites_.at(site)->Report(
            task, spec_,
            crypto::DigestFromBytes(AsBytes(task.newton().coefficients().digest())).value(),
            jobs::MaskedKind::kNewtonSums, kCoefficients, {.noisy_sums = sums}, clock_.WallNow()));
    return Send(site, report.vector, report.masked_input);
  }
  void DoNewtonRound(double gradient, double hessian) {
    for (const std::string& site : kSites) {
      const Status reported = ReportSums(site, gradient, hessian);
      EXPECT_TRUE(reported.ok()) << site << ": " << reported;
    }
    DoWork();
    for (int step = 0; step < 2; ++step) {
      DoStep(kSites);
      DoWork();
    }
  }
  std::vector<double> CoefficientsOf(const JobId& id) {
    const auto model = engine_->FindModel(id);
    EXPECT_TRUE(model.ok()) << model.status();
    Bytes bytes(model->reader.size_bytes());
    EXPECT_TRUE(model->reader.ReadAt(0, bytes).ok());
    return *DoublesFromBytes(bytes);
  }
};

TEST_F(EngineNoisyNewtonTest, EveryRoundIsAStepFromTheSumOverSites) {
  const JobId id = Start(NewtonSpec());
  ExchangeKeys();
  // The Hessian is above its floor; the penalty of 1 is on all but the intercept.
  DoNewtonRound(-40, 100);
  std::vector<double> expected(kCoefficients, 160.0 / 401);
  expected.back() = 160.0 / 400;
  EXPECT_THAT(CoefficientsOf(id), testing::Pointwise(testing::DoubleNear(1e-4), expected));
  // Flat but for noise: the floor is half of deviation * sqrt(2 p), with the shares of four sites
  // where two are counted on.
  DoNewtonRound(10, 0);
  const double floor = 0.5 * jobs::NewtonDeviationsOf(spec_, kCoefficients).hessian *
                       std::sqrt(4.0 / 2) * std::sqrt(2.0 * kCoefficients);
  for (std::size_t i = 0; i + 1 < kCoefficients; ++i) {
    expected[i] -= (40 + expected[i]) / (floor + 1);
  }
  expected.back() -= 40 / floor;
  EXPECT_THAT(CoefficientsOf(id), testing::Pointwise(testing::DoubleNear(1e-4), expected));

  const v1::ShowJobResponse shown = Shown(id);
  EXPECT_EQ(shown.job().state(), v1::JOB_STATE_COMPLETED);
  EXPECT_EQ(shown.job().reason(), "");
  ASSERT_EQ(shown.rounds_size(), 2);
  for (const v1::RoundRecord& record : shown.rounds()) {
    EXPECT_TRUE(record.published());
    EXPECT_EQ(record.num_examples(), 0u);
  }
}

TEST_F(EngineNoisyNewtonTest, AStepOfALogisticRegressionIsAtMostTenLong) {
  const JobId id = Start(NewtonSpec());
  ExchangeKeys();
  DoNewtonRound(-1e9, 0);
  EXPECT_THAT(CoefficientsOf(id), Each(testing::DoubleNear(5, 0.2)));
}

}  // namespace
}  // namespace chorale::coordinator
