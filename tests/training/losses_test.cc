#include "training/losses.h"

#include <gtest/gtest.h>

#include <cmath>

// What tests/training/zoo_test.cc does not meet: weights, ties of every kind, links, accuracy,
// extremes.
namespace chorale::training {
namespace {

using at::Tensor;

const at::Device kCpu(at::kCPU);

Tensor Column(const std::vector<double>& values) {
  return at::tensor(values, at::kFloat).view({-1, 1});
}
Tensor Pairs(const std::vector<double>& values) {
  return at::tensor(values, at::kFloat).view({-1, 2});
}

v1::Loss Cox(v1::CoxTies ties) {
  v1::Loss loss;
  loss.mutable_cox()->set_ties(ties);
  return loss;
}

// Efron 1977; Breslow 1974.
double NaiveCox(const std::vector<double>& time, const std::vector<double>& event,
                const std::vector<double>& score, bool is_efron) {
  double loss = 0;
  for (std::size_t i = 0; i < time.size(); ++i) {
    if (event[i] == 0) continue;
    double at_risk = 0, tied = 0;
    int num_tied = 0, num_before = 0;
    for (std::size_t j = 0; j < time.size(); ++j) {
      if (time[j] >= time[i]) at_risk += std::exp(score[j]);
      if (time[j] != time[i] || event[j] == 0) continue;
      tied += std::exp(score[j]);
      ++num_tied;
      if (j < i) ++num_before;
    }
    if (is_efron) at_risk -= tied * num_before / num_tied;
    loss += std::log(at_risk) - score[i];
  }
  return loss;
}

TEST(CoxLossTest, EqualsADoubleLoopForEveryKindOfTie) {
  // Ties between events, between events and censored rows, at the end and at the beginning.
  const std::vector<double> time = {5, 3, 3, 3, 8, 5, 1, 8, 8, 2, 1, 5};
  const std::vector<double> event = {1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 1, 0};
  const std::vector<double> score = {.3, -1.2, 2, .1, .7, -.4, 1.5, -2, 0, .9, -.6, .2};
  std::vector<double> targets;
  for (std::size_t i = 0; i < time.size(); ++i) {
    targets.push_back(time[i]);
    targets.push_back(event[i]);
  }

  const double efron =
      LossFunction(Cox(v1::COX_TIES_EFRON), kCpu).Sum(Column(score), Pairs(targets)).item<double>();
  const double breslow = LossFunction(Cox(v1::COX_TIES_BRESLOW), kCpu)
                             .Sum(Column(score), Pairs(targets))
                             .item<double>();

  EXPECT_NEAR(efron, NaiveCox(time, event, score, true), 1e-5);
  EXPECT_NEAR(breslow, NaiveCox(time, event, score, false), 1e-5);
  EXPECT_GT(breslow, efron + 0.1);
}

TEST(CoxLossTest, IsZeroWithoutEventsAndWithOneRow) {
  const LossFunction loss(Cox(v1::COX_TIES_EFRON), kCpu);
  EXPECT_EQ(loss.Sum(Column({1, 2}), Pairs({3, 0, 4, 0})).item<double>(), 0);
  EXPECT_NEAR(loss.Sum(Column({1.5}), Pairs({3, 1})).item<double>(), 0, 1e-7);
}

TEST(CoxLossTest, SurvivesScoresBeyondTheRangeOfExponentials) {
  const LossFunction loss(Cox(v1::COX_TIES_EFRON), kCpu);
  // Either order: the larger score fails first, or last.
  EXPECT_NEAR(loss.Sum(Column({300, 0}), Pairs({1, 1, 2, 1})).item<double>(), 0, 1e-5);
  EXPECT_NEAR(loss.Sum(Column({0, 300}), Pairs({1, 1, 2, 1})).item<double>(), 300, 1e-3);
}

TEST(BinaryCrossEntropyTest, CountsPositiveTargetsByTheirWeight) {
  v1::Loss spec;
  spec.mutable_binary_cross_entropy()->set_positive_weight(3);
  const auto chance = [](double logit) { return 1 / (1 + std::exp(-logit)); };

  EXPECT_NEAR(LossFunction(spec, kCpu).Sum(Column({.5, -1}), Column({1, 0})).item<double>(),
              -3 * std::log(chance(.5)) - std::log(1 - chance(-1)), 1e-6);
}

TEST(HuberLossTest, IsASquareWithinDeltaAndALineBeyond) {
  v1::Loss spec;
  spec.mutable_huber()->set_delta(0.5);
  EXPECT_NEAR(LossFunction(spec, kCpu).Sum(Column({1.3, 4}), Column({1, 1})).item<double>(),
              0.5 * 0.3 * 0.3 + 0.5 * (3 - 0.25), 1e-6);
}

TEST(LossFunctionTest, ARowOfSeveralTargetsIsTheirMean) {
  v1::Loss spec;
  spec.mutable_mean_squared_error();
  const Tensor outputs = Pairs({1, 2, 3, 4});
  EXPECT_NEAR(LossFunction(spec, kCpu).Sum(outputs, Pairs({0, 0, 3, 2})).item<double>(),
              (1 + 4) / 2.0 + (0 + 4) / 2.0, 1e-6);
}

TEST(LossFunctionTest, LinksAreChancesRatesAndTheValueItself) {
  const Tensor outputs = Pairs({1, -2});
  v1::Loss classes, numbers, counts, intervals;
  classes.mutable_cross_entropy()->set_num_classes(2);
  numbers.mutable_huber()->set_delta(1);
  counts.mutable_poisson();
  intervals.mutable_discrete_survival()->add_interval_ends(1);

  EXPECT_TRUE(at::allclose(LossFunction(classes, kCpu).Link(outputs), at::softmax(outputs, 1)));
  EXPECT_TRUE(at::equal(LossFunction(numbers, kCpu).Link(outputs), outputs));
  EXPECT_TRUE(at::allclose(LossFunction(counts, kCpu).Link(outputs), outputs.exp()));
  EXPECT_TRUE(at::allclose(LossFunction(intervals, kCpu).Link(outputs), outputs.sigmoid()));
  EXPECT_TRUE(at::allclose(LossFunction({}, kCpu).Link(outputs), outputs.sigmoid()));
}

TEST(LossFunctionTest, CountsRowsThatAreRightAtOneHalfOrByTheLargestScore) {
  v1::Loss binary, classes, counts;
  binary.mutable_binary_cross_entropy()->set_positive_weight(1);
  classes.mutable_cross_entropy()->set_num_classes(3);
  counts.mutable_poisson();

  EXPECT_EQ(LossFunction(binary, kCpu)
                .NumRight(Column({2, 0, -1, -3}), Column({1, 1, 1, 0}))
                ->item<double>(),
            3);
  const Tensor masks = at::tensor({1.0F, -1.0F, 1.0F, 1.0F}).view({1, 4});
  EXPECT_EQ(LossFunction(binary, kCpu).NumRight(masks, at::ones({1, 4}))->item<double>(), 0.75);
  const Tensor scores = at::tensor({.1F, .2F, .3F, .9F, .2F, .3F}).view({2, 3});
  EXPECT_EQ(LossFunction(classes, kCpu).NumRight(scores, Column({2, 1}))->item<double>(), 1);
  EXPECT_FALSE(LossFunction(counts, kCpu).NumRight(scores, scores).has_value());
}

TEST(DiscreteSurvivalTest, TimesAtTheEndsOfIntervalsBelongToThem) {
  v1::Loss spec;
  for (const double end : {1.0, 2.0}) spec.mutable_discrete_survival()->add_interval_ends(end);
  const LossFunction loss(spec, kCpu);
  const double half = std::log(2);  // Minus the logarithm of a hazard of one half, or of survival.
  const auto at = [&](double time, double event) {
    return loss.Sum(at::zeros({1, 2}), Pairs({time, event})).item<double>();
  };

  EXPECT_NEAR(at(0, 1), half, 1e-6);
  EXPECT_NEAR(at(1, 1), half, 1e-6);
  EXPECT_NEAR(at(1.1, 1), 2 * half, 1e-6);
  EXPECT_NEAR(at(2, 1), 2 * half, 1e-6);
  EXPECT_NEAR(at(2.5, 1), 2 * half, 1e-6);  // Later than every interval: survived them all.
  EXPECT_NEAR(at(0.4, 0), 0, 1e-6);         // Censored before the middle of the first.
  EXPECT_NEAR(at(0.5, 0), half, 1e-6);
  EXPECT_NEAR(at(1.6, 0), 2 * half, 1e-6);
}

}  // namespace
}  // namespace chorale::training
