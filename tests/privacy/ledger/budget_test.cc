#include "privacy/ledger/budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "privacy/accountant.h"
#include "tests/privacy/ledger/fixtures.h"

namespace chorale::privacy {
namespace {

using testing::HasSubstr;

TEST(LedgerBudgetTest, TheBudgetInRhoIsTheConversionToEpsilonTurnedRound) {
  for (const double order : {1.5, 3.0, 12.0, 64.0}) {
    const double rho = RhoBudget(order, 10, 1e-5);
    if (rho < 0) continue;
    const RdpCurve curve{.orders = {order}, .values = {rho}};

    EXPECT_NEAR(EpsilonOf(curve, 1e-5).epsilon, 10, 1e-12) << order;
  }
}

TEST(LedgerBudgetTest, TheOrderChosenIsTheOneThatLetsMostSuchJobsIn) {
  const StatusOr<RdpCurve> job =
      ComputeRdpCurve(NoisySteps(Sampling::kPoisson, 0.05, 1.1, 1),
                      NeighboringRelation::kAddOrRemoveOne, ExtendedOrders());
  ASSERT_TRUE(job.ok());

  const std::optional<double> order = ChooseOrder(*job, 10, 1e-5);

  ASSERT_TRUE(order.has_value());
  const double jobs = RhoBudget(*order, 10, 1e-5) / RhoAt(*job, *order);
  for (const double other : job->orders) {
    EXPECT_LE(RhoBudget(other, 10, 1e-5) / RhoAt(*job, other), jobs);
  }
}

TEST(LedgerBudgetTest, AJobWithoutNoiseHasNoOrderAndOneWithoutCostHasOne) {
  RdpCurve curve = NoCost();
  EXPECT_TRUE(ChooseOrder(curve, 10, 1e-5).has_value());

  for (double& rho : curve.values) rho = std::numeric_limits<double>::infinity();
  EXPECT_FALSE(ChooseOrder(curve, 10, 1e-5).has_value());
}

TEST(LedgerBudgetTest, StepsNotTakenCostNothingEvenWithoutNoise) {
  RdpCurve endless = NoCost();
  for (double& rho : endless.values) rho = std::numeric_limits<double>::infinity();
  RdpCurve sum = NoCost();

  AddScaled(endless, 0, sum);
  EXPECT_TRUE(IsNoCost(sum));

  AddScaled(endless, 1, sum);
  EXPECT_EQ(sum.values[0], std::numeric_limits<double>::infinity());
}

TEST(LedgerBudgetTest, TheNoiseThatFitsIsTheLeast) {
  const Part part{.step = NoisySteps(Sampling::kPoisson, 0.05, 1, 1), .steps = 300};
  const Limits limits = ValidRequest().limits;

  const std::optional<double> noise =
      NoiseThatFits(part, {{.epsilon = 3, .orders = ExtendedOrders()}}, limits);

  ASSERT_TRUE(noise.has_value());
  const auto epsilon = [](double noise_multiplier) {
    return EpsilonFor(NoisySteps(Sampling::kPoisson, 0.05, noise_multiplier, 300), 1e-5,
                      {.accountant = AccountantKind::kRdp, .orders = ExtendedOrders()})
        ->epsilon;
  };
  EXPECT_LE(epsilon(*noise), 3);
  EXPECT_GT(epsilon(*noise - 1e-3), 3);
}

TEST(LedgerBudgetTest, LimitsAreAsTheSiteFileSays) {
  v1::PrivacyLimits config;
  config.set_max_epsilon(5);
  config.set_delta(1e-6);
  config.set_max_epsilon_per_job(2);
  config.set_relation("replace");

  const StatusOr<Limits> limits = LimitsOf(config);

  ASSERT_TRUE(limits.ok()) << limits.status();
  EXPECT_EQ(limits->max_epsilon, 5);
  EXPECT_EQ(limits->max_epsilon_per_job, 2);
  EXPECT_EQ(limits->max_epsilon_per_researcher, 5);
  EXPECT_EQ(limits->delta, 1e-6);
  EXPECT_EQ(limits->relation, NeighboringRelation::kReplaceOne);
}

TEST(LedgerBudgetTest, LimitsOutsideTheirBoundsAreToldWithBoundAndValue) {
  v1::PrivacyLimits valid;
  valid.set_max_epsilon(5);
  valid.set_delta(1e-6);
  const auto spoil = [&valid](const auto& change) {
    v1::PrivacyLimits config = valid;
    change(config);
    return MessageOf(LimitsOf(config).status());
  };

  EXPECT_THAT(spoil([](auto& c) { c.set_max_epsilon(0); }),
              HasSubstr("max_epsilon must be in [0.05, 100], got 0"));
  EXPECT_THAT(spoil([](auto& c) { c.set_max_epsilon(std::nan("")); }), HasSubstr("max_epsilon"));
  EXPECT_THAT(spoil([](auto& c) { c.set_delta(0.5); }), HasSubstr("delta must be in"));
  EXPECT_THAT(spoil([](auto& c) { c.set_max_epsilon_per_job(6); }),
              HasSubstr("max_epsilon_per_job must be in [0.05, 5], got 6"));
  EXPECT_THAT(spoil([](auto& c) { c.set_max_epsilon_per_project(0.01); }),
              HasSubstr("max_epsilon_per_project"));
  EXPECT_THAT(spoil([](auto& c) { c.set_relation("swap"); }), HasSubstr("got \"swap\""));
}

}  // namespace
}  // namespace chorale::privacy
