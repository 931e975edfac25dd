#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/random.h"
#include "evaluation/metrics.h"

namespace chorale::evaluation {
namespace {

using Values = std::vector<float>;

struct Rows {
  Values scores;  // [n, classes]
  Values targets;
};

// Scores on a coarse grid, so that there are ties; every class has a row.
Rows MakeRows(SeededRandom& random, std::size_t num_rows, std::size_t num_classes) {
  Rows rows;
  for (std::size_t row = 0; row < num_rows; ++row) {
    const std::size_t target = row < num_classes ? row : random.NextBelow(num_classes);
    rows.targets.push_back(static_cast<float>(target));
    float sum = 0;
    for (std::size_t c = 0; c < num_classes; ++c) {
      rows.scores.push_back(
          static_cast<float>(1 + random.NextBelow(6) + (c == target ? random.NextBelow(4) : 0)));
      sum += rows.scores.back();
    }
    for (std::size_t c = 0; c < num_classes; ++c) rows.scores[row * num_classes + c] /= sum;
  }
  return rows;
}

// The area of one class against the rest, rows counted `weights` times.
double AreaByPairs(const Rows& rows, std::size_t num_classes, std::size_t number,
                   const std::vector<double>& weights) {
  double wins = 0;
  double pairs = 0;
  for (std::size_t i = 0; i < rows.targets.size(); ++i) {
    for (std::size_t j = 0; j < rows.targets.size(); ++j) {
      if (static_cast<std::size_t>(rows.targets[i]) != number ||
          static_cast<std::size_t>(rows.targets[j]) == number) {
        continue;
      }
      const float a = rows.scores[i * num_classes + number];
      const float b = rows.scores[j * num_classes + number];
      pairs += weights[i] * weights[j];
      wins += weights[i] * weights[j] * (a > b ? 1 : a == b ? 0.5 : 0);
    }
  }
  return wins / pairs;
}

double MeanArea(const Rows& rows, std::size_t num_classes, const std::vector<double>& weights) {
  double sum = 0;
  for (std::size_t c = 0; c < num_classes; ++c) sum += AreaByPairs(rows, num_classes, c, weights);
  return sum / static_cast<double>(num_classes);
}

// Half the interval on the logit scale, as a standard deviation of the value.
double DeviationOf(const Estimate& estimate) {
  const auto logit = [](double p) { return std::log(p / (1 - p)); };
  return (logit(estimate.upper) - logit(estimate.value)) / 1.959963984540054 * estimate.value *
         (1 - estimate.value);
}

TEST(ClassAccuracyTest, TakesTheLargestScoreAndTheFirstOfEqualOnes) {
  const Values scores = {.5F, .3F, .2F, .4F, .4F, .2F, .1F, .2F, .7F, .2F, .5F, .3F};
  EXPECT_DOUBLE_EQ(ClassAccuracy(scores, Values{0, 0, 2, 2}, 3).estimate->value, 0.75);
  EXPECT_DOUBLE_EQ(ClassAccuracy(scores, Values{0, 1, 2, 2}, 3).estimate->value, 0.5);
}

TEST(ClassAccuracyTest, OfTwoClassesIsTheBinaryOne) {
  SeededRandom random(3);
  const Rows rows = MakeRows(random, 60, 2);
  Values positive;
  Values both;
  for (std::size_t row = 0; row < 60; ++row) {
    positive.push_back(rows.scores[2 * row + 1]);
    // A tie means the first class here and the second there: break it.
    if (positive.back() == 0.5F) positive.back() = 0.51F;
    both.push_back(1 - positive.back());
    both.push_back(positive.back());
  }
  const Metric expected = Accuracy(positive, rows.targets);
  const Metric found = ClassAccuracy(both, rows.targets, 2);
  EXPECT_EQ(found.estimate->value, expected.estimate->value);
  EXPECT_EQ(found.estimate->lower, expected.estimate->lower);
}

TEST(MacroAurocTest, IsTheMeanOfTheAreasCountedPairByPair) {
  SeededRandom random(4);
  for (int repetition = 0; repetition < 30; ++repetition) {
    const Rows rows = MakeRows(random, 40, 4);
    const Metric metric = MacroAuroc(rows.scores, rows.targets, 4);
    ASSERT_TRUE(metric.estimate);
    EXPECT_NEAR(metric.estimate->value, MeanArea(rows, 4, std::vector<double>(40, 1)), 1e-12);
    EXPECT_LT(metric.estimate->lower, metric.estimate->value);
    EXPECT_GT(metric.estimate->upper, metric.estimate->value);
  }
}

TEST(MacroAurocTest, ItsVarianceIsTheSumOfSquaredDerivativesByTheRowsWeights) {
  SeededRandom random(5);
  const Rows rows = MakeRows(random, 50, 3);
  double variance = 0;
  for (std::size_t row = 0; row < 50; ++row) {
    constexpr double kStep = 1e-5;
    std::vector<double> weights(50, 1);
    weights[row] = 1 + kStep;
    const double above = MeanArea(rows, 3, weights);
    weights[row] = 1 - kStep;
    variance += std::pow((above - MeanArea(rows, 3, weights)) / (2 * kStep), 2);
  }

  const Metric metric = MacroAuroc(rows.scores, rows.targets, 3);

  EXPECT_NEAR(DeviationOf(*metric.estimate), std::sqrt(variance), 1e-6);
}

TEST(MacroAurocTest, OfTwoClassesIsTheAreaOfOne) {
  const Values positive = {0.1F, 0.4F, 0.35F, 0.8F, 0.4F, 0.4F, 0.9F, 0.65F, 0.2F, 0.55F};
  const Values targets = {0, 0, 1, 1, 0, 1, 1, 0, 0, 1};
  Values both;
  for (const float score : positive) {
    both.push_back(1 - score);
    both.push_back(score);
  }
  const Metric expected = Auroc(positive, targets);
  const Metric found = MacroAuroc(both, targets, 2);
  EXPECT_NEAR(found.estimate->value, expected.estimate->value, 1e-12);
  // DeLong divides by n - 1 where the jackknife divides by n.
  EXPECT_NEAR(DeviationOf(*found.estimate), DeviationOf(*expected.estimate) * std::sqrt(0.8), 1e-9);
}

TEST(MacroAurocTest, PerfectSeparationRestsOnTheRarestClass) {
  const Values scores = {1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1};
  const Metric metric = MacroAuroc(scores, Values{0, 0, 1, 1, 2, 2, 2}, 3);
  EXPECT_EQ(metric.estimate->value, 1);
  EXPECT_NEAR(metric.estimate->lower, std::pow(0.025, 0.5), 1e-12);
}

TEST(MacroAurocTest, AClassWithoutRowsIsNotEstimable) {
  const Values scores = {.5F, .3F, .2F, .2F, .6F, .2F};
  EXPECT_EQ(MacroAuroc(scores, Values{0, 1}, 3).not_estimable, "no row of class 2");
  EXPECT_EQ(MacroAuroc(scores, Values{1, 1}, 3).not_estimable, "one class");
  EXPECT_EQ(MacroAuroc({}, {}, 3).not_estimable, "no rows");
}

TEST(ClassLogLossTest, IsOfTheRightClassAndFinite) {
  const Values scores = {.5F, .25F, .25F, 0, 1, 0};
  const Metric metric = ClassLogLoss(scores, Values{0, 0}, 3);
  EXPECT_NEAR(metric.estimate->value, (std::log(2.0) - std::log(1e-7)) / 2, 1e-6);
  EXPECT_EQ(ClassLogLoss(Values{.5F, .5F}, Values{0}, 2).not_estimable, "one row");
}

}  // namespace
}  // namespace chorale::evaluation
