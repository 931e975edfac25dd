#include "evaluation/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/random.h"

// Constants below come from scikit-learn (areas, losses), SciPy (Wilson and exact binomial
// intervals) and DeLong's structural components written as a double loop.
namespace chorale::evaluation {
namespace {

using Values = std::vector<float>;

void ExpectEstimate(const Metric& metric, double value, double lower, double upper,
                    double tolerance = 1e-9) {
  ASSERT_TRUE(metric.estimate.has_value()) << metric.not_estimable;
  EXPECT_NEAR(metric.estimate->value, value, tolerance);
  EXPECT_NEAR(metric.estimate->lower, lower, tolerance);
  EXPECT_NEAR(metric.estimate->upper, upper, tolerance);
}

void ExpectNone(const Metric& metric, const std::string& reason) {
  EXPECT_FALSE(metric.estimate.has_value());
  EXPECT_EQ(metric.not_estimable, reason);
}

// Twelve rows with ties inside a class and across classes.
const Values kScores = {0.1F, 0.4F, 0.35F, 0.8F, 0.4F, 0.4F, 0.9F, 0.65F, 0.2F, 0.55F, 0.35F, 0.7F};
const Values kTargets = {0, 0, 1, 1, 0, 1, 1, 0, 0, 1, 0, 1};

struct Rows {
  Values scores;
  Values targets;
};

// Two hundred rows on a grid of 101 scores.
Rows MakeGrid() {
  Rows rows;
  for (int i = 0; i < 200; ++i) {
    const int step = i * 37 % 101;
    rows.scores.push_back(static_cast<float>(step) / 100);
    rows.targets.push_back(i * 53 % 17 * 100 + step * 17 > 1530 ? 1.0F : 0.0F);
  }
  return rows;
}

TEST(AccuracyTest, CountsRightOnesWithAWilsonInterval) {
  ExpectEstimate(Accuracy(kScores, kTargets), 0.75, 0.46769466506643426, 0.9110583316059453);
  const Rows grid = MakeGrid();
  ExpectEstimate(Accuracy(grid.scores, grid.targets), 0.755, 0.6909575644379659,
                 0.8094313191096282);
}

TEST(AccuracyTest, AllRightAndAllWrongHaveIntervalsThatHoldThem) {
  const Values ones(12, 1.0F);
  ExpectEstimate(Accuracy(Values(12, 0.9F), ones), 1, 0.7575059933447592, 1);
  ExpectEstimate(Accuracy(Values(12, 0.1F), ones), 0, 0, 0.24249400665524085);
}

TEST(AccuracyTest, AScoreOfOneHalfMeansPositive) {
  EXPECT_EQ(Accuracy(Values{0.5F}, Values{1}).estimate->value, 1);
  EXPECT_EQ(Accuracy(Values{0.5F}, Values{0}).estimate->value, 0);
}

TEST(AurocTest, CountsTiesHalfWithDeLongsIntervalOnTheLogitScale) {
  ExpectEstimate(Auroc(kScores, kTargets), 0.8194444444444444, 0.4637311526475858,
                 0.959709186479128);
  const Rows grid = MakeGrid();
  ExpectEstimate(Auroc(grid.scores, grid.targets), 0.8416193181818181, 0.7813974795695857,
                 0.8876365550523537);
}

TEST(AurocTest, AgreesWithPairsCountedOneByOne) {
  SeededRandom random(6);
  for (int repetition = 0; repetition < 50; ++repetition) {
    Rows rows{.scores = {}, .targets = {0, 1}};
    for (int i = 0; i < 40; ++i)
      rows.scores.push_back(static_cast<float>(random.NextBelow(12)) / 12);
    while (rows.targets.size() < 40)
      rows.targets.push_back(static_cast<float>(random.NextBelow(2)));

    double wins = 0;
    double pairs = 0;
    for (std::size_t i = 0; i < 40; ++i) {
      for (std::size_t j = 0; j < 40; ++j) {
        if (rows.targets[i] <= rows.targets[j]) continue;
        pairs += 1;
        wins += rows.scores[i] > rows.scores[j] ? 1 : rows.scores[i] == rows.scores[j] ? 0.5 : 0;
      }
    }

    const Metric metric = Auroc(rows.scores, rows.targets);
    EXPECT_NEAR(metric.estimate->value, wins / pairs, 1e-12);
    EXPECT_LE(metric.estimate->lower, metric.estimate->value);
    EXPECT_GE(metric.estimate->upper, metric.estimate->value);
  }
}

TEST(AurocTest, DependsOnTheOrderOfScoresOnly) {
  const Rows grid = MakeGrid();
  Values squeezed;
  for (const float score : grid.scores) squeezed.push_back(0.4F + score * score / 8);

  const Metric metric = Auroc(squeezed, grid.targets);

  ExpectEstimate(metric, 0.8416193181818181, 0.7813974795695857, 0.8876365550523537);
}

TEST(AurocTest, PerfectSeparationHasTheExactBinomialInterval) {
  // Five disjoint pairs, all in order: 0.025^(1/5).
  ExpectEstimate(Auroc(Values{.6F, .7F, .8F, .9F, 1, .1F, .2F, .3F, .4F, .5F, .05F},
                       Values{1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0}),
                 1, 0.4781762498950185, 1);
  ExpectEstimate(Auroc(Values{.1F, .2F, .3F, .4F, .5F, .6F, .7F, .8F, .9F, 1},
                       Values{1, 1, 1, 1, 1, 0, 0, 0, 0, 0}),
                 0, 0, 1 - 0.4781762498950185);
  ExpectEstimate(Auroc(Values{.9F, .1F}, Values{1, 0}), 1, 0.025, 1);
}

TEST(AurocTest, OneScoreForAllSaysLittleNotEverything) {
  ExpectEstimate(Auroc(Values(7, 0.3F), Values{1, 1, 1, 0, 0, 0, 0}), 0.5, 0.1253344719102632,
                 0.8746655280897369);
}

TEST(AurocTest, OnePositiveRowHasAWideInterval) {
  ExpectEstimate(Auroc(Values{.6F, .1F, .2F, .3F, .9F}, Values{1, 0, 0, 0, 0}), 0.75,
                 0.11790958799950957, 0.9853650691891092);
}

TEST(AurocTest, OneClassIsNotEstimable) {
  ExpectNone(Auroc(Values{0.2F, 0.9F}, Values{1, 1}), "one class");
  ExpectNone(Auroc(Values{0.2F, 0.9F}, Values{0, 0}), "one class");
}

TEST(AurocTest, IsCloseToTheTruthOnManyRows) {
  SeededRandom random(1);
  Rows rows;
  for (int i = 0; i < 100000; ++i) {
    rows.scores.push_back(static_cast<float>(random.NextDouble()));
    rows.targets.push_back(random.NextDouble() < rows.scores.back() ? 1.0F : 0.0F);
  }

  const Metric metric = Auroc(rows.scores, rows.targets);

  // P(score of a positive > score of a negative) for densities 2x and 2(1 - x) is 5/6.
  EXPECT_NEAR(metric.estimate->value, 5.0 / 6, 0.005);
  EXPECT_LT(metric.estimate->upper - metric.estimate->lower, 0.006);
}

TEST(LogLossTest, IsTheMeanWithANormalInterval) {
  ExpectEstimate(LogLoss(kScores, kTargets), 0.5066574316806698, 0.3138576442579074,
                 0.6994572191034322, 1e-7);
  const Rows grid = MakeGrid();
  ExpectEstimate(LogLoss(grid.scores, grid.targets), 0.4914480198832348, 0.4244278442341472,
                 0.5584681955323223, 1e-6);
}

TEST(LogLossTest, IsFiniteForCertaintyThatIsWrong) {
  const Metric metric = LogLoss(Values{0, 1}, Values{1, 0});
  EXPECT_NEAR(metric.estimate->value, -std::log(1e-7), 1e-6);
}

TEST(LogLossTest, ItsIntervalDoesNotGoBelowZero) {
  const Metric metric = LogLoss(Values{0.999F, 0.2F}, Values{1, 1});
  EXPECT_EQ(metric.estimate->lower, 0);
}

TEST(LogLossTest, OneRowHasNoInterval) { ExpectNone(LogLoss(Values{0.3F}, Values{1}), "one row"); }

TEST(MetricsTest, NoRowsAreNotEstimable) {
  ExpectNone(Accuracy({}, {}), "no rows");
  ExpectNone(Auroc({}, {}), "no rows");
  ExpectNone(LogLoss({}, {}), "no rows");
}

TEST(MetricsTest, AScoreThatIsNotFiniteIsNotEstimable) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const Values scores = {0.1F, bad, 0.7F};
    const Values targets = {0, 1, 1};
    ExpectNone(Accuracy(scores, targets), "a score is not finite");
    ExpectNone(Auroc(scores, targets), "a score is not finite");
    ExpectNone(LogLoss(scores, targets), "a score is not finite");
  }
}

}  // namespace
}  // namespace chorale::evaluation
