#include "privacy/ledger/state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy/ledger/fixtures.h"

namespace chorale::privacy {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class LedgerStateTest : public testing::Test {
 protected:
  Status TryReserve(const ReserveRequest& request) {
    StatusOr<std::variant<ReservationId, Reserved>> plan = state_.PlanReserve(request);
    if (!plan.ok()) return plan.status();
    if (const auto* known = std::get_if<ReservationId>(&*plan)) {
      last_ = *known;
      return OkStatus();
    }
    last_ = ReservationId(Append(std::get<Reserved>(*plan)));
    return OkStatus();
  }
  ReservationId Reserve(const ReserveRequest& request = ValidRequest()) {
    const Status status = TryReserve(request);
    EXPECT_TRUE(status.ok()) << status;
    return last_;
  }
  void Start(ReservationId reservation, const std::string& key, std::uint64_t steps) {
    const Started started = StepsOf(reservation, key, steps);
    EXPECT_TRUE(state_.CheckStart(started).ok());
    Append(started);
  }
  std::uint64_t Append(decltype(Entry::kind) kind) {
    const Status status = state_.Apply(++seq_, {.time = Time(), .kind = std::move(kind)});
    EXPECT_TRUE(status.ok()) << status;
    return seq_;
  }
  double Held() {
    return state_.BurnDownOf(DatasetId("heart"), ValidRequest().limits).epsilon_held;
  }
  double Spent() { return state_.Spent(DatasetId("heart"), 1e-5).epsilon; }

  LedgerState state_;
  std::uint64_t seq_ = 0;
  ReservationId last_;
};

TEST_F(LedgerStateTest, NothingIsSpentUntilStepsStart) {
  EXPECT_EQ(Spent(), 0);
  EXPECT_EQ(Held(), 0);
  const ReservationId job = Reserve();

  EXPECT_EQ(Spent(), 0);
  const double held = Held();
  EXPECT_NEAR(held, 5.37, 0.01);

  Start(job, "task-1", 100);
  const double spent = Spent();
  EXPECT_GT(spent, 0);
  EXPECT_LT(spent, held);
  EXPECT_EQ(Held(), held);

  Start(job, "task-2", 200);
  EXPECT_DOUBLE_EQ(Spent(), held);
}

TEST_F(LedgerStateTest, EpsilonIsThatOfTheAccountantForTheSameSteps) {
  Start(Reserve(), "task-1", 100);

  const auto expected =
      EpsilonFor(NoisySteps(Sampling::kPoisson, 0.05, 1.1, 100), 1e-5,
                 {.accountant = AccountantKind::kRdp, .orders = ExtendedOrders()});

  EXPECT_NEAR(Spent(), expected->epsilon, 1e-12);
}

TEST_F(LedgerStateTest, TheSameJobGetsTheSameReservation) {
  const ReservationId first = Reserve();

  EXPECT_EQ(Reserve(), first);
  EXPECT_EQ(seq_, 1u);
}

TEST_F(LedgerStateTest, AJobReservedWithOtherContentIsRefused) {
  Reserve();
  ReserveRequest more = ValidRequest();
  more.job.parts[0].steps = 299;

  EXPECT_EQ(TryReserve(more).code(), StatusCode::kFailedPrecondition);
}

TEST_F(LedgerStateTest, AJobOverBudgetIsToldWhatIsLeftAndWhichNoiseFits) {
  Reserve();
  Reserve(ValidRequest("job-2"));
  ReserveRequest third = ValidRequest("job-3");
  third.job.parts[0].steps = 600;

  const Status status = TryReserve(third);

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(status),
              AllOf(HasSubstr("dataset heart: the budget of all jobs is epsilon 10 at delta 1e-05 "
                              "per patient (neighbours by add-remove, accountant rdp), of which "
                              "jobs hold"),
                    HasSubstr("with this one they would hold"), HasSubstr("this one alone needs"),
                    HasSubstr("it fits with noise_multiplier ")));
  const std::string text = MessageOf(status);
  NoiseOf(third) = std::stod(text.substr(text.rfind(' ')));
  EXPECT_TRUE(TryReserve(third).ok());
}

TEST_F(LedgerStateTest, EachLimitRefusesByItsName) {
  ReserveRequest one = ValidRequest();
  one.limits.max_epsilon_per_job = 1;
  EXPECT_THAT(MessageOf(TryReserve(one)),
              AllOf(HasSubstr("the limit of one job is epsilon 1 "),
                    HasSubstr("; this one alone needs "), Not(HasSubstr("jobs hold"))));

  Reserve();
  ReserveRequest own = ValidRequest("job-2");
  own.limits.max_epsilon_per_researcher = 6;
  EXPECT_THAT(MessageOf(TryReserve(own)), HasSubstr("the budget of researcher ada is epsilon 6 "));

  ReserveRequest other = ValidRequest("job-2", "grace");
  other.limits.max_epsilon_per_researcher = 6;
  EXPECT_TRUE(TryReserve(other).ok());
}

TEST_F(LedgerStateTest, AJobWithoutNoiseNeverFits) {
  ReserveRequest request = ValidRequest();
  NoiseOf(request) = 0;

  const Status status = TryReserve(request);

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(status), HasSubstr("this one alone needs inf"));
}

TEST_F(LedgerStateTest, DatasetsDoNotShareABudget) {
  Reserve();
  ReserveRequest other = ValidRequest();
  other.job.dataset = DatasetId("lung");
  other.limits.max_epsilon = other.limits.max_epsilon_per_researcher = 6;
  other.limits.max_epsilon_per_job = 6;

  EXPECT_TRUE(TryReserve(other).ok());
  EXPECT_EQ(state_.Datasets(), (std::vector<DatasetId>{DatasetId("heart"), DatasetId("lung")}));
}

TEST_F(LedgerStateTest, RelationsAndUnitsAreNotMixed) {
  ReserveRequest replace = ValidRequest();
  replace.job.relation = NeighboringRelation::kReplaceOne;
  EXPECT_EQ(TryReserve(replace).code(), StatusCode::kFailedPrecondition);

  Reserve();
  replace = ValidRequest("job-2");
  replace.job.relation = replace.limits.relation = NeighboringRelation::kReplaceOne;
  EXPECT_THAT(MessageOf(TryReserve(replace)), HasSubstr("the two do not add up"));

  ReserveRequest records = ValidRequest("job-2");
  records.job.unit = PrivacyUnit::kRecord;
  EXPECT_EQ(TryReserve(records).code(), StatusCode::kFailedPrecondition);
}

TEST_F(LedgerStateTest, AJobThatStartedNothingBindsNoRelation) {
  Append(Released{Reserve()});
  ReserveRequest replace = ValidRequest("job-2");
  replace.job.relation = replace.limits.relation = NeighboringRelation::kReplaceOne;
  NoiseOf(replace) = 4;

  EXPECT_TRUE(TryReserve(replace).ok());
}

TEST_F(LedgerStateTest, NoNoiseIsProposedForStepsOfSeveralEvents) {
  ReserveRequest request = ValidRequest();
  request.job.parts[0].step = {.kind = Composed{{{.kind = Gaussian{1}}, {.kind = Laplace{1}}}}};

  const Status status = TryReserve(request);

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(status), Not(HasSubstr("noise_multiplier")));
}

TEST_F(LedgerStateTest, ReleasingGivesBackWhatWasNotStarted) {
  const ReservationId job = Reserve();
  Start(job, "task-1", 100);
  const double spent = Spent();
  Append(Released{job});

  EXPECT_DOUBLE_EQ(Held(), spent);
  EXPECT_DOUBLE_EQ(Spent(), spent);
  EXPECT_FALSE(*state_.IsOpen(job));
}

TEST_F(LedgerStateTest, AJobThatIsOverNeitherStartsNorReservesAgain) {
  const ReservationId job = Reserve();
  Start(job, "task-1", 1);
  Append(Released{job});

  EXPECT_EQ(state_.CheckStart(StepsOf(job, "task-2", 1)).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(state_.CheckStart(StepsOf(job, "task-1", 1)).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(TryReserve(ValidRequest()).code(), StatusCode::kFailedPrecondition);
}

TEST_F(LedgerStateTest, AStepStartsOnceAndNeverWithOtherContent) {
  const ReservationId job = Reserve();
  Start(job, "task-1", 10);
  Started other_content = StepsOf(job, "task-1", 10);
  other_content.content[0] ^= 1;

  EXPECT_EQ(state_.CheckStart(StepsOf(job, "task-1", 10)).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(state_.CheckStart(other_content).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(state_.CheckStart(StepsOf(job, "task-1", 11)).code(), StatusCode::kFailedPrecondition);
}

TEST_F(LedgerStateTest, RoundsRepeatedUnderNewAttemptsRunOutOfTheReservation) {
  const ReservationId job = Reserve();
  for (int attempt = 0; attempt < 10; ++attempt) {
    Start(job, "round-1-attempt-" + std::to_string(attempt), 30);
  }

  const Status status = state_.CheckStart(StepsOf(job, "round-1-attempt-10", 30));

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(status), HasSubstr("has started 300 of the 300 steps that it reserved"));
}

TEST_F(LedgerStateTest, AStartThatIsNoneIsRefused) {
  const ReservationId job = Reserve();
  Started two_parts = StepsOf(job, "task", 1);
  two_parts.steps = {1, 1};

  EXPECT_EQ(state_.CheckStart(StepsOf(ReservationId(9), "task", 1)).code(), StatusCode::kNotFound);
  EXPECT_EQ(state_.CheckStart(StepsOf(job, "", 1)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(state_.CheckStart(StepsOf(job, "task", 0)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(state_.CheckStart(two_parts).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(state_.CheckStart(StepsOf(job, "task", ~std::uint64_t{0})).code(),
            StatusCode::kResourceExhausted);
}

TEST_F(LedgerStateTest, PartsAreCountedEachByItself) {
  ReserveRequest request = ValidRequest();
  request.job.parts.push_back({.step = {.kind = Gaussian{20}}, .steps = 3});
  const ReservationId job = Reserve(request);
  Started metrics = StepsOf(job, "metrics", 0);
  metrics.steps = {0, 3};
  Append(metrics);

  EXPECT_NEAR(Spent(),
              EpsilonFor({.kind = Gaussian{20}, .count = 3}, 1e-5,
                         {.accountant = AccountantKind::kRdp, .orders = ExtendedOrders()})
                  ->epsilon,
              1e-12);
  metrics.step_key = "again";
  EXPECT_EQ(state_.CheckStart(metrics).code(), StatusCode::kResourceExhausted);
}

TEST_F(LedgerStateTest, EachStepOfAShuffledPassIsBilledAsAPass) {
  ReserveRequest request = ValidRequest();
  request.job.parts = {{.step = NoisySteps(Sampling::kShuffled, 0.01, 20, 1), .steps = 100}};
  Start(Reserve(request), "task", 10);

  EXPECT_NEAR(Spent(),
              EpsilonFor({.kind = Gaussian{20}, .count = 10}, 1e-5,
                         {.accountant = AccountantKind::kRdp, .orders = ExtendedOrders()})
                  ->epsilon,
              1e-12);
}

TEST_F(LedgerStateTest, TheOrderStaysFromTheFirstJobThatIsHeld) {
  const ReservationId first = Reserve();
  const auto order = [this](ReserveRequest request) {
    return std::get<Reserved>(*state_.PlanReserve(std::move(request))).dataset_order;
  };
  ReserveRequest sum = ValidRequest("job-2");
  sum.job.parts = {{.step = {.kind = Gaussian{30}}, .steps = 1}};
  const double while_held = order(sum);
  Append(Released{first});
  const double afterwards = order(sum);

  EXPECT_EQ(while_held, order(ValidRequest("job-3")));
  EXPECT_NE(while_held, afterwards);
}

TEST_F(LedgerStateTest, TheBurnDownTellsEveryJob) {
  const ReservationId first = Reserve();
  Start(first, "task-1", 100);
  Append(Committed{"task-1"});
  Start(first, "task-2", 50);
  Append(Released{first});
  Reserve(ValidRequest("job-2", "grace"));

  const BurnDown burn = state_.BurnDownOf(DatasetId("heart"), ValidRequest().limits);

  EXPECT_EQ(burn.max_epsilon, 10);
  EXPECT_LT(burn.epsilon_spent, burn.epsilon_held);
  EXPECT_DOUBLE_EQ(burn.epsilon_left, 10 - burn.epsilon_held);
  EXPECT_GT(burn.share_spent, 0);
  EXPECT_LT(burn.share_spent, burn.share_held);
  EXPECT_LT(burn.share_held, 1);
  ASSERT_EQ(burn.jobs.size(), 2u);
  EXPECT_EQ(burn.jobs[0].steps_reserved, 300u);
  EXPECT_EQ(burn.jobs[0].steps_started, 150u);
  EXPECT_EQ(burn.jobs[0].rounds_started, 2u);
  EXPECT_EQ(burn.jobs[0].rounds_committed, 1u);
  EXPECT_TRUE(burn.jobs[0].is_released);
  EXPECT_DOUBLE_EQ(burn.jobs[0].epsilon_started, burn.epsilon_spent);
  EXPECT_EQ(burn.jobs[1].researcher, ResearcherId("grace"));
  EXPECT_EQ(burn.jobs[1].epsilon_started, 0);
}

TEST_F(LedgerStateTest, LoweredLimitsShowAsOverspentAndAdmitNothing) {
  Start(Reserve(), "task", 300);
  ReserveRequest lowered = ValidRequest("job-2");
  lowered.limits.max_epsilon = lowered.limits.max_epsilon_per_job = 1;
  lowered.limits.max_epsilon_per_researcher = 1;
  lowered.job.parts[0].steps = 1;

  EXPECT_GT(state_.BurnDownOf(DatasetId("heart"), lowered.limits).share_spent, 1);
  EXPECT_THAT(MessageOf(TryReserve(lowered)), HasSubstr("no noise makes it fit"));
}

TEST_F(LedgerStateTest, ARowThatDoesNotFollowIsDataLossAndChangesNothing) {
  const ReservationId job = Reserve();
  Start(job, "task", 300);
  Reserved again = ValidRequest().job;
  again.dataset_order = again.researcher_order = 3;
  Reserved odd_order = ValidRequest("job-2").job;
  odd_order.dataset_order = odd_order.researcher_order = 3.14159;
  const Entry entries[] = {{Time(), again},
                           {Time(), odd_order},
                           {Time(), StepsOf(job, "task-2", 1)},
                           {Time(), Committed{"other"}},
                           {Time(), Released{ReservationId(7)}}};
  for (const Entry& entry : entries) {
    EXPECT_EQ(state_.Apply(seq_ + 1, entry).code(), StatusCode::kDataLoss);
  }
  EXPECT_EQ(state_.BurnDownOf(DatasetId("heart"), ValidRequest().limits).jobs.size(), 1u);
}

}  // namespace
}  // namespace chorale::privacy
