#include "coordinator/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "coordinator/job_event_codec.h"
#include "coordinator/round_record.h"
#include "core/random.h"

namespace chorale::coordinator {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::VariantWith;

const SiteId kNorth("north");
const SiteId kSouth("south");
const Time kStart{seconds(1'000'000)};
constexpr Duration kDeadline = seconds(60);

crypto::BlobId Blob(std::uint8_t mark) { return {.size_bytes = 16, .digest = {mark}}; }

class JobTest : public testing::Test {
 protected:
  static JobRules Rules() {
    return {.num_rounds = 2, .min_reports = 2, .max_abandoned = 1, .deadline = kDeadline};
  }
  std::vector<JobAction> Do(const JobEvent& event, Time now = kStart) {
    const auto actions = job_.Step(event, now);
    EXPECT_TRUE(actions.ok()) << actions.status();
    return actions.ok() ? *actions : std::vector<JobAction>();
  }
  StatusCode CodeOf(const JobEvent& event, Time now = kStart) {
    return job_.Step(event, now).status().code();
  }
  RoundKey Key() const { return job_.round()->key(); }
  void Report(const SiteId& site, std::uint64_t num_examples = 10) {
    Do(SiteReported{Key(), site, {.payload = Blob(1), .num_examples = num_examples}});
  }
  void StartRound() {
    if (std::holds_alternative<Queued>(job_.state())) Do(JobStarted{Blob(0)});
    Do(CohortSelected{{kNorth, kSouth}});
  }
  void PublishRound(std::uint8_t mark) {
    StartRound();
    Report(kNorth);
    Report(kSouth);
    Do(RoundAggregated{Blob(mark)});
  }
  template <typename State>
  bool Is() const {
    return std::holds_alternative<State>(job_.state());
  }

  Job job_{Rules()};
};

TEST_F(JobTest, MakesItsModelFirst) {
  EXPECT_THAT(job_.OutstandingActions(), ElementsAre(JobAction(MakeInitialModel{})));

  EXPECT_THAT(Do(JobStarted{Blob(0)}), ElementsAre(JobAction(FindCohort{{RoundNumber(1), 1}})));
  EXPECT_EQ(job_.model(), Blob(0));
  EXPECT_EQ(job_.NextDeadline(), kStart + kDeadline);
}

TEST_F(JobTest, FailsWhenItsModelCannotBeMade) {
  Do(StartFailed{"disk full"});

  ASSERT_TRUE(Is<Failed>());
  EXPECT_THAT(std::get<Failed>(job_.state()).reason, HasSubstr("disk full"));
}

TEST_F(JobTest, DispatchesToTheCohort) {
  Do(JobStarted{Blob(0)});

  const auto actions = Do(CohortSelected{{kNorth, kSouth}});

  EXPECT_THAT(actions,
              ElementsAre(JobAction(Dispatch{{RoundNumber(1), 1}, kNorth, kStart + kDeadline}),
                          JobAction(Dispatch{{RoundNumber(1), 1}, kSouth, kStart + kDeadline})));
}

TEST_F(JobTest, ClosesTasksAndSumsWhenAllHaveReported) {
  StartRound();
  Report(kNorth);

  const auto actions = Do(SiteReported{Key(), kSouth, {.payload = Blob(1), .num_examples = 1}});

  EXPECT_THAT(actions, ElementsAre(JobAction(Aggregate{{RoundNumber(1), 1}}),
                                   JobAction(CloseTasks{{RoundNumber(1), 1}})));
}

TEST_F(JobTest, CompletesAfterThePublishedRoundsWanted) {
  PublishRound(1);
  EXPECT_TRUE(Is<Selecting>());
  PublishRound(2);

  EXPECT_TRUE(Is<Completed>());
  EXPECT_EQ(job_.model(), Blob(2));
  EXPECT_EQ(job_.num_published(), 2u);
  EXPECT_EQ(job_.ended_at(), kStart);
  ASSERT_EQ(job_.rounds().size(), 2u);
  EXPECT_TRUE(job_.rounds()[1].published());
  EXPECT_EQ(job_.rounds()[1].num_examples(), 20u);
  EXPECT_EQ(job_.rounds()[1].model_digest()[0], 2);
}

TEST_F(JobTest, TriesAnAbandonedRoundAgain) {
  StartRound();
  Report(kNorth);

  const auto actions = Do(DeadlinePassed{}, kStart + kDeadline);

  EXPECT_THAT(actions, ElementsAre(VariantWith<CancelTasks>(testing::_),
                                   JobAction(CloseTasks{{RoundNumber(1), 1}}),
                                   JobAction(RecordRound{{RoundNumber(1), 1}, 0}),
                                   JobAction(FindCohort{{RoundNumber(1), 2}})));
  EXPECT_FALSE(job_.rounds()[0].published());
  EXPECT_THAT(job_.rounds()[0].reason(), HasSubstr("south did not report"));
}

TEST_F(JobTest, FailsAfterTooManyAbandonedRoundsInARow) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    StartRound();
    Do(DeadlinePassed{}, kStart + kDeadline);
  }

  ASSERT_TRUE(Is<Failed>());
  EXPECT_THAT(std::get<Failed>(job_.state()).reason, HasSubstr("2 in a row"));
  EXPECT_THAT(std::get<Failed>(job_.state()).reason, HasSubstr("north did not report"));
}

TEST_F(JobTest, APublishedRoundForgivesTheAbandonedOnes) {
  StartRound();
  Do(DeadlinePassed{}, kStart + kDeadline);
  PublishRound(1);
  StartRound();
  Do(DeadlinePassed{}, kStart + kDeadline);

  EXPECT_TRUE(Is<Selecting>());
}

TEST_F(JobTest, ReportsOfAnEarlierAttemptAreClosed) {
  StartRound();
  const RoundKey first = Key();
  Do(DeadlinePassed{}, kStart + kDeadline);
  StartRound();

  EXPECT_EQ(CodeOf(SiteReported{first, kNorth, {.payload = Blob(1), .num_examples = 1}}),
            StatusCode::kFailedPrecondition);
}

TEST_F(JobTest, CountsNoCohortAsAnAbandonedRound) {
  Do(JobStarted{Blob(0)});
  EXPECT_EQ(CodeOf(NoCohort{"waiting for sites: 1 of 2 connected"}),
            StatusCode::kFailedPrecondition);

  Do(NoCohort{"waiting for sites: 1 of 2 connected"}, kStart + kDeadline);

  EXPECT_TRUE(Is<Selecting>());
  EXPECT_EQ(job_.rounds()[0].reason(), "waiting for sites: 1 of 2 connected");
}

TEST_F(JobTest, FailsAtOnceWhenTheQuorumIsImpossible) {
  Do(JobStarted{Blob(0)});
  Do(QuorumImpossible{"north refused (MODEL_NOT_ALLOWED)"});

  ASSERT_TRUE(Is<Failed>());
  EXPECT_EQ(std::get<Failed>(job_.state()).reason, "north refused (MODEL_NOT_ALLOWED)");
  EXPECT_EQ(job_.rounds().size(), 1u);
}

TEST_F(JobTest, RemembersRefusalsThatLast) {
  StartRound();
  Do(SiteRefused{Key(), kNorth, {"MODEL_NOT_ALLOWED", "no"}});
  Do(SiteRefused{Key(), kSouth, {"BUSY", "later"}});

  EXPECT_TRUE(job_.refusals().contains(kNorth));
  EXPECT_FALSE(job_.refusals().contains(kSouth));
}

TEST_F(JobTest, CancelsOutstandingTasks) {
  StartRound();
  Report(kNorth);

  const auto actions = Do(CancelRequested{ResearcherId("ada")});

  EXPECT_THAT(
      actions,
      ElementsAre(
          JobAction(CancelTasks{(RoundKey{RoundNumber(1), 1}), {kSouth}, "the job was cancelled"}),
          JobAction(CloseTasks{(RoundKey{RoundNumber(1), 1})}), JobAction(Ended{})));
  EXPECT_TRUE(Is<CancelledBy>());
}

TEST_F(JobTest, CancelsOnlyWhatHasNotEnded) {
  Do(CancelRequested{ResearcherId("ada")});

  EXPECT_EQ(CodeOf(CancelRequested{ResearcherId("ada")}), StatusCode::kFailedPrecondition);
}

TEST_F(JobTest, PreparesBeforeItTrains) {
  JobRules rules = Rules();
  rules.needs_preparation = true;
  job_ = Job(rules);
  StartRound();
  EXPECT_EQ(Key().number.value(), 0u);
  Report(kNorth);
  Report(kSouth);
  v1::FeatureMoments moments;
  moments.set_mean(3);
  moments.set_standard_deviation(2);
  EXPECT_EQ(CodeOf(RoundAggregated{Blob(1)}), StatusCode::kFailedPrecondition);

  v1::ColumnStatistics age;
  age.set_column("age");
  age.set_mean(3);
  EXPECT_EQ(CodeOf(RoundAggregated{RoundMetrics{}}), StatusCode::kFailedPrecondition);

  Do(RoundAggregated{Preparation{.moments = {moments}, .statistics = {age}}});

  ASSERT_EQ(job_.rounds()[0].statistics_size(), 1);
  EXPECT_EQ(job_.rounds()[0].statistics(0).column(), "age");
  EXPECT_EQ(job_.moments().at(0).mean(), 3);
  EXPECT_EQ(job_.num_published(), 0u);
  EXPECT_EQ(std::get<Selecting>(job_.state()).round, (RoundKey{RoundNumber(1), 1}));
  EXPECT_EQ(job_.rounds()[0].phase(), "preparation");
}

TEST_F(JobTest, MeansOfMetricsAreWeightedByTheirRows) {
  StartRound();
  v1::MetricValue loss;
  loss.set_kind(v1::METRIC_KIND_LOSS);
  loss.set_split(v1::SPLIT_TEST);
  loss.set_value(1);
  loss.set_num_examples(30);
  Do(SiteReported{Key(), kNorth, {.payload = Blob(1), .num_examples = 5, .metrics = {loss}}});
  loss.set_value(2);
  loss.set_num_examples(10);
  Do(SiteReported{Key(), kSouth, {.payload = Blob(1), .num_examples = 5, .metrics = {loss}}});
  Do(RoundAggregated{Blob(1)});

  ASSERT_EQ(job_.rounds()[0].metrics_size(), 1);
  EXPECT_DOUBLE_EQ(job_.rounds()[0].metrics(0).value(), 1.25);
  EXPECT_EQ(job_.rounds()[0].metrics(0).num_examples(), 40u);
}

TEST_F(JobTest, PausesLongerTheMoreRoundsAreAbandonedInARow) {
  JobRules rules = Rules();
  rules.max_abandoned = 1000;
  job_ = Job(rules);
  Do(JobStarted{Blob(1)});
  std::vector<seconds::rep> pauses;
  Time now = kStart;
  for (std::uint32_t attempt = 1; attempt <= 10; ++attempt) {
    Do(CohortSelected{{kNorth, kSouth}}, now);
    now += kDeadline;
    Do(DeadlinePassed{}, now);
    const auto& selecting = std::get<Selecting>(job_.state());
    EXPECT_EQ(selecting.deadline, selecting.not_before + kDeadline);
    pauses.push_back(std::chrono::duration_cast<seconds>(selecting.not_before - now).count());
    now = selecting.not_before;
  }

  EXPECT_THAT(pauses, ElementsAre(0, 1, 2, 4, 8, 16, 32, 64, 64, 64));
}

// ---------------------------------------------------------------------------- algorithms

TEST_F(JobTest, KeepsTheServersStateWithItsModel) {
  StartRound();
  Report(kNorth);
  Report(kSouth);
  Do(RoundAggregated{.result = Blob(1), .server_state = Blob(9)});
  EXPECT_EQ(job_.server_state(), Blob(9));

  StartRound();
  Do(DeadlinePassed{}, kStart + kDeadline);
  EXPECT_EQ(job_.server_state(), Blob(9));  // An abandoned round changes nothing.

  PublishRound(2);
  EXPECT_EQ(job_.server_state(), std::nullopt);
}

TEST_F(JobTest, StepsOfNewtonEndWhenTheyConverge) {
  JobRules rules = Rules();
  rules.num_rounds = 20;
  rules.uses_newton = true;
  job_ = Job(rules);
  StartRound();
  EXPECT_EQ(job_.phase(), Phase::kNewton);
  Report(kNorth);
  Report(kSouth);

  Do(RoundAggregated{
      .result = Blob(1), .converged = "converged: decrement 1e-12", .note = "collinear columns"});

  ASSERT_TRUE(Is<Completed>());
  EXPECT_EQ(std::get<Completed>(job_.state()).reason,
            "converged: decrement 1e-12; collinear columns");
  EXPECT_EQ(job_.num_published(), 1u);
  EXPECT_EQ(job_.rounds()[0].phase(), "newton");
  EXPECT_TRUE(job_.rounds()[0].published());
  EXPECT_EQ(job_.rounds()[0].reason(), "collinear columns");
}

TEST_F(JobTest, SaysThatNewtonDidNotConverge) {
  JobRules rules = Rules();
  rules.uses_newton = true;
  job_ = Job(rules);
  PublishRound(1);
  PublishRound(2);

  ASSERT_TRUE(Is<Completed>());
  EXPECT_EQ(std::get<Completed>(job_.state()).reason, "newton did not converge within 2 rounds");
}

TEST_F(JobTest, NoisyStepsOfNewtonAreAllTakenAndNoneIsSaidToBeMissing) {
  JobRules rules = Rules();
  rules.uses_newton = true;
  rules.is_noisy = true;
  job_ = Job(rules);
  PublishRound(1);
  ASSERT_FALSE(Is<Completed>());
  PublishRound(2);

  ASSERT_TRUE(Is<Completed>());
  EXPECT_EQ(std::get<Completed>(job_.state()).reason, "");
}

class EarlyStopJobTest : public JobTest {
 protected:
  EarlyStopJobTest() {
    rules_.num_rounds = 10;
    rules_.early_stop = EarlyStopRules{.split = v1::SPLIT_TEST, .patience = 2};
    job_ = Job(rules_);
  }
  // A round whose sites both tell this loss.
  void PublishWithLoss(double value) {
    StartRound();
    v1::MetricValue loss;
    loss.set_kind(v1::METRIC_KIND_LOSS);
    loss.set_split(v1::SPLIT_TEST);
    loss.set_value(value);
    loss.set_num_examples(10);
    for (const SiteId& site : {kNorth, kSouth}) {
      Do(SiteReported{Key(), site, {.payload = Blob(1), .num_examples = 10, .metrics = {loss}}});
    }
    Do(RoundAggregated{Blob(static_cast<std::uint8_t>(Key().number.value()))});
  }

  JobRules rules_ = Rules();
};

TEST_F(EarlyStopJobTest, CompletesWhenTheMetricStopsGettingBetter) {
  PublishWithLoss(1);
  PublishWithLoss(0.5);
  PublishWithLoss(0.6);
  EXPECT_TRUE(Is<Selecting>());
  PublishWithLoss(0.5);

  ASSERT_TRUE(Is<Completed>());
  EXPECT_THAT(std::get<Completed>(job_.state()).reason,
              HasSubstr("stopped early after round 4: the test loss was best in round 2"));
  EXPECT_EQ(job_.model(), Blob(4));
  EXPECT_EQ(job_.num_published(), 4u);
}

TEST_F(EarlyStopJobTest, TheLastRoundIsNoEarlyEnd) {
  rules_.num_rounds = 3;
  job_ = Job(rules_);
  for (int i = 0; i < 3; ++i) PublishWithLoss(1);

  ASSERT_TRUE(Is<Completed>());
  EXPECT_EQ(std::get<Completed>(job_.state()).reason, "");
}

TEST_F(EarlyStopJobTest, AbandonedRoundsDoNotTryItsPatience) {
  PublishWithLoss(1);
  for (int i = 0; i < 3; ++i) {
    StartRound();
    Do(DeadlinePassed{}, kStart + kDeadline);
    PublishWithLoss(1.0 / (i + 2));
  }

  EXPECT_TRUE(Is<Selecting>());
}

TEST_F(EarlyStopJobTest, PersonalizesAfterAnEarlyEnd) {
  rules_.personalizes = true;
  job_ = Job(rules_);
  for (int i = 0; i < 3; ++i) PublishWithLoss(1);
  EXPECT_EQ(job_.phase(), Phase::kPersonalization);
  StartRound();
  EXPECT_EQ(Key().number.value(), 4u);
  Report(kNorth);
  Report(kSouth);
  v1::MetricValue loss;
  loss.set_value(0.25);

  Do(RoundAggregated{RoundMetrics{loss}});

  ASSERT_TRUE(Is<Completed>());
  EXPECT_THAT(std::get<Completed>(job_.state()).reason, HasSubstr("stopped early after round 3"));
  EXPECT_EQ(job_.model(), Blob(3));
}

TEST_F(JobTest, PersonalizesOnceAfterTheLastRound) {
  JobRules rules = Rules();
  rules.personalizes = true;
  job_ = Job(rules);
  PublishRound(1);
  PublishRound(2);
  StartRound();
  EXPECT_EQ(Key(), (RoundKey{RoundNumber(3), 1}));
  EXPECT_EQ(job_.phase(), Phase::kPersonalization);
  Report(kNorth);
  Report(kSouth);
  EXPECT_EQ(CodeOf(RoundAggregated{Blob(3)}), StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(RoundAggregated{.result = RoundMetrics{}, .converged = "so"}),
            StatusCode::kFailedPrecondition);
  v1::MetricValue loss;
  loss.set_kind(v1::METRIC_KIND_LOSS);
  loss.set_value(0.25);

  Do(RoundAggregated{RoundMetrics{loss}});

  ASSERT_TRUE(Is<Completed>());
  EXPECT_EQ(std::get<Completed>(job_.state()).reason, "");
  EXPECT_EQ(job_.num_published(), 2u);
  EXPECT_EQ(job_.model(), Blob(2));
  ASSERT_EQ(job_.rounds().size(), 3u);
  EXPECT_EQ(job_.rounds()[2].phase(), "personalization");
  ASSERT_EQ(job_.rounds()[2].metrics_size(), 1);
  EXPECT_EQ(job_.rounds()[2].metrics(0).value(), 0.25);
  EXPECT_EQ(job_.rounds()[2].model_digest(), "");
}

TEST_F(JobTest, AbandonedPersonalizationIsTriedAgainAndThenFails) {
  JobRules rules = Rules();
  rules.personalizes = true;
  job_ = Job(rules);
  PublishRound(1);
  PublishRound(2);
  StartRound();
  Do(DeadlinePassed{}, kStart + kDeadline);
  EXPECT_EQ(job_.phase(), Phase::kPersonalization);
  EXPECT_EQ(job_.rounds().back().phase(), "personalization");
  StartRound();
  Do(DeadlinePassed{}, kStart + kDeadline);

  EXPECT_TRUE(Is<Failed>());
  EXPECT_EQ(job_.model(), Blob(2));
}

// ---------------------------------------------------------------------------- properties

v1::MetricValue RandomLoss(SeededRandom& random) {
  v1::MetricValue loss;
  loss.set_kind(v1::METRIC_KIND_LOSS);
  loss.set_split(v1::SPLIT_TEST);
  loss.set_value(static_cast<double>(random.NextBelow(4)));
  loss.set_num_examples(1);
  return loss;
}

// Any event, fitting or not.
JobEvent RandomEvent(SeededRandom& random, const Job& job) {
  const SiteId site(random.NextBelow(5) == 0 ? "stranger"
                                             : "s" + std::to_string(random.NextBelow(4)));
  RoundKey key{RoundNumber(static_cast<std::uint32_t>(random.NextBelow(3))), 1};
  if (job.round() != nullptr && random.NextBelow(8) != 0) key = job.round()->key();
  switch (random.NextBelow(14)) {
    case 0:
      return JobStarted{Blob(0)};
    case 1:
    case 2:
      return CohortSelected{{SiteId("s0"), SiteId("s1"), SiteId("s2"), SiteId("s3")}};
    case 3:
      return NoCohort{"nobody"};
    case 4:
    case 5:
    case 6:
      return SiteReported{key,
                          site,
                          {.payload = Blob(static_cast<std::uint8_t>(random.NextBelow(2))),
                           .num_examples = 1 + random.NextBelow(3),
                           .metrics = {RandomLoss(random)}}};
    case 7:
      return SiteRefused{key, site, {random.NextBelow(2) == 0 ? "BUSY" : "JOB_INVALID", "no"}};
    case 8:
      return SiteDropped{site};
    case 9:
      return SiteReturned{site};
    case 10:
      return DeadlinePassed{};
    case 11:
      if (job.phase() == Phase::kPreparation && random.NextBelow(4) != 0) {
        return RoundAggregated{Preparation{.moments = Moments(2)}};
      }
      if (job.phase() == Phase::kPersonalization && random.NextBelow(4) != 0) {
        return RoundAggregated{RoundMetrics(1)};
      }
      return RoundAggregated{
          .result = Blob(static_cast<std::uint8_t>(random.NextBelow(200))),
          .server_state = random.NextBelow(2) == 0
                              ? std::optional(Blob(static_cast<std::uint8_t>(random.NextBelow(9))))
                              : std::nullopt,
          .converged = random.NextBelow(8) == 0 ? "converged" : "",
          .note = random.NextBelow(4) == 0 ? "odd" : ""};
    case 12:
      return AggregationFailed{"disk full"};
    default:
      if (random.NextBelow(20) == 0) return CancelRequested{ResearcherId("ada")};
      return QuorumImpossible{"nobody"};
  }
}

// Everything that can be seen of a job.
std::string Look(const Job& job) {
  std::string seen =
      std::to_string(job.state().index()) + "|" + std::to_string(job.num_published()) + "|" +
      std::to_string(job.refusals().size()) + "|" + std::to_string(job.moments().size());
  if (job.model().has_value()) seen += "|" + std::to_string(job.model()->digest[0]);
  if (job.server_state().has_value()) seen += "/" + std::to_string(job.server_state()->digest[0]);
  if (job.phase().has_value()) seen += "|" + std::string(NameOf(*job.phase()));
  if (const auto* completed = std::get_if<Completed>(&job.state())) seen += completed->reason;
  if (const auto deadline = job.NextDeadline()) seen += "|" + FormatTime(*deadline);
  for (const v1::RoundRecord& record : job.rounds()) seen += "|" + record.SerializeAsString();
  if (const Round* round = job.round()) {
    for (const auto& [site, status] : round->sites()) {
      seen += "|" + site.value() + std::to_string(status.index());
    }
  }
  return seen;
}

class JobPropertyTest : public testing::TestWithParam<std::uint64_t> {};

TEST_P(JobPropertyTest, ReplayGivesTheSameJobAndIllegalEventsChangeNothing) {
  SeededRandom random(GetParam());
  JobRules rules{.num_rounds = 3,
                 .min_reports = 2,
                 .max_abandoned = 3,
                 .deadline = kDeadline,
                 .needs_preparation = random.NextBelow(2) == 0,
                 .uses_newton = random.NextBelow(4) == 0,
                 .personalizes = random.NextBelow(2) == 0};
  if (random.NextBelow(2) == 0) rules.early_stop = EarlyStopRules{.patience = 1};
  Job job(rules);
  std::vector<v1::JobEvent> accepted;
  Time now = kStart;
  for (int i = 0; i < 400 && !job.has_ended(); ++i) {
    now += seconds(random.NextBelow(4) == 0 ? random.NextBelow(30) : 0);
    const JobEvent event = RandomEvent(random, job);
    if (std::holds_alternative<QuorumImpossible>(event) && random.NextBelow(30) != 0) continue;
    const std::string before = Look(job);
    const auto actions = job.Step(event, now);
    if (actions.ok()) {
      accepted.push_back(Encode(event, now));
    } else {
      ASSERT_EQ(Look(job), before) << actions.status();
    }
    const StatusOr<Job> replayed = Replay(rules, accepted);
    ASSERT_TRUE(replayed.ok()) << replayed.status();
    ASSERT_EQ(Look(*replayed), Look(job));
    ASSERT_EQ(replayed->OutstandingActions(), job.OutstandingActions());
  }
  for (const v1::RoundRecord& record : job.rounds()) {
    if (!record.published()) continue;
    int reports = 0;
    for (const v1::SiteProgress& site : record.sites()) {
      reports += site.state() == v1::SITE_STATE_REPORTED ? 1 : 0;
    }
    EXPECT_GE(reports, 2);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, JobPropertyTest, testing::Range<std::uint64_t>(1, 41));

}  // namespace
}  // namespace chorale::coordinator
