#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/random.h"
#include "evaluation/metrics.h"

namespace chorale::evaluation {
namespace {

using Values = std::vector<float>;

// Errors 1, -1, 2, 0: squares 1, 1, 4, 0.
const Values kPredictions = {2, 1, 5, 8};
const Values kTargets = {1, 2, 3, 8};

double Gaussian(SeededRandom& random) {
  return std::sqrt(-2 * std::log(1 - random.NextDouble())) *
         std::cos(2 * 3.141592653589793 * random.NextDouble());
}

TEST(RootMeanSquaredErrorTest, IsTheRootOfTheMeanSquareAndOfItsInterval) {
  const Estimate estimate = *RootMeanSquaredError(kPredictions, kTargets).estimate;
  // Mean square 1.5, variance 3 (n - 1), standard error sqrt(3 / 4).
  EXPECT_DOUBLE_EQ(estimate.value, std::sqrt(1.5));
  EXPECT_DOUBLE_EQ(estimate.lower, 0);
  EXPECT_NEAR(estimate.upper, std::sqrt(1.5 + 1.959963984540054 * std::sqrt(0.75)), 1e-12);
}

TEST(MeanAbsoluteErrorTest, IsTheMeanWithANormalInterval) {
  const Estimate estimate = *MeanAbsoluteError(kPredictions, kTargets).estimate;
  EXPECT_DOUBLE_EQ(estimate.value, 1);
  EXPECT_NEAR(estimate.upper, 1 + 1.959963984540054 * std::sqrt(2.0 / 3 / 4), 1e-12);
}

TEST(DeterminationTest, ComparesWithTheMeanOfTheseRows) {
  // Squared deviations from 3.5: 6.25, 2.25, 0.25, 20.25, in all 29.
  EXPECT_NEAR(Determination(kPredictions, kTargets).estimate->value, 1 - 6.0 / 29, 1e-12);
  EXPECT_NEAR(Determination(Values(4, 3.5F), kTargets).estimate->value, 0, 1e-12);
  EXPECT_LT(Determination(Values(4, 30.0F), kTargets).estimate->value, 0);
  const Estimate perfect = *Determination(kTargets, kTargets).estimate;
  EXPECT_EQ(perfect.value, 1);
  EXPECT_EQ(perfect.upper, 1);
}

TEST(NumberMetricsTest, IntervalsHoldTheTruthAboutAsOftenAsTheySay) {
  // 400 rows of y = x + noise of deviation 1/2, x normal: RMSE .5, R2 1 / 1.25, MAE .5 sqrt(2/pi).
  // Of 1,000 repetitions 950 are expected inside, with a deviation of 7: outside [915, 985] by luck
  // less than once in a million runs, and the seed is fixed.
  SeededRandom random(12);
  int rmse = 0;
  int mae = 0;
  int r2 = 0;
  for (int repetition = 0; repetition < 1000; ++repetition) {
    Values predictions;
    Values targets;
    for (int row = 0; row < 400; ++row) {
      predictions.push_back(static_cast<float>(Gaussian(random)));
      targets.push_back(predictions.back() + 0.5F * static_cast<float>(Gaussian(random)));
    }
    const auto holds = [](const Metric& metric, double truth) {
      return metric.estimate->lower <= truth && truth <= metric.estimate->upper ? 1 : 0;
    };
    rmse += holds(RootMeanSquaredError(predictions, targets), 0.5);
    mae += holds(MeanAbsoluteError(predictions, targets), 0.5 * std::sqrt(2 / 3.141592653589793));
    r2 += holds(Determination(predictions, targets), 0.8);
  }
  for (const int inside : {rmse, mae, r2}) {
    EXPECT_GE(inside, 915);
    EXPECT_LE(inside, 985);
  }
}

TEST(NumberMetricsTest, SaysWhyThereIsNoEstimate) {
  EXPECT_EQ(Determination(Values{1, 2}, Values{3, 3}).not_estimable, "one value");
  const Values infinite = {1, std::numeric_limits<float>::infinity()};
  for (const auto metric : {RootMeanSquaredError, MeanAbsoluteError, Determination}) {
    EXPECT_EQ(metric({}, {}).not_estimable, "no rows");
    EXPECT_EQ(metric(Values{1}, Values{2}).not_estimable, "one row");
    EXPECT_EQ(metric(infinite, Values{1, 2}).not_estimable, "a score is not finite");
  }
}

}  // namespace
}  // namespace chorale::evaluation
