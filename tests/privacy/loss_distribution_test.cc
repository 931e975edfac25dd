#include "privacy/loss_distribution.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "privacy/dominating_pair.h"
#include "privacy/gaussian.h"
#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

constexpr auto kAddRemove = NeighboringRelation::kAddOrRemoveOne;
constexpr auto kReplace = NeighboringRelation::kReplaceOne;

CountedLeaf Sampled(Sampling sampling, double rate, double noise) {
  return {.kind = SampledGaussian{
              .sampling = sampling, .sample_rate = rate, .noise_multiplier = noise}};
}

std::vector<CountedLeaf> ManyLeaves() {
  return {Sampled(Sampling::kPoisson, 0.01, 1),
          Sampled(Sampling::kPoisson, 0.4, 0.5),
          Sampled(Sampling::kPoisson, 1e-6, 1),
          Sampled(Sampling::kPoisson, 0.999, 4),
          Sampled(Sampling::kFixedSize, 0.05, 1.5),
          {.kind = Gaussian{1.3}},
          {.kind = Laplace{0.7}},
          {.kind = RecordsOfOnePatient(5, 0.1, 2)},
          {.kind = TruncatedPoissonGaussian{
               .num_units = 200, .sample_rate = 0.1, .max_batch = 22, .noise_multiplier = 1}}};
}

// E over P of 1 and of e^-loss.
struct Totals {
  double p = 0;
  double q = 0;
};
Totals TotalsOf(const LossDistribution& distribution) {
  Totals totals{.p = distribution.infinite_mass(), .q = 0};
  for (std::size_t i = 0; i < distribution.masses().size(); ++i) {
    const double loss = static_cast<double>(distribution.first() + static_cast<std::int64_t>(i)) *
                        distribution.interval();
    totals.p += distribution.masses()[i];
    totals.q += distribution.masses()[i] * std::exp(-loss);
  }
  return totals;
}

// Poisson sampling in closed form.
double PoissonDelta(Direction direction, double rate, double noise, double epsilon) {
  const auto cdf = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2)); };
  if (direction == Direction::kRemove) {
    const double argument = std::exp(epsilon) - (1 - rate);
    if (argument <= 0) return 1 - std::exp(epsilon);
    const double x = noise * noise * std::log(argument / rate) + 0.5;
    return (1 - rate) * cdf(-x / noise) + rate * cdf(-(x - 1) / noise) -
           std::exp(epsilon) * cdf(-x / noise);
  }
  const double argument = std::exp(-epsilon) - (1 - rate);
  if (argument <= 0) return 0;
  const double x = noise * noise * std::log(argument / rate) + 0.5;
  return cdf(x / noise) -
         std::exp(epsilon) * ((1 - rate) * cdf(x / noise) + rate * cdf((x - 1) / noise));
}

TEST(DiscretizeTest, KeepsBothProbabilities) {
  for (const CountedLeaf& leaf : ManyLeaves()) {
    for (const Direction direction : {Direction::kRemove, Direction::kAdd}) {
      for (const NeighboringRelation relation : {kAddRemove, kReplace}) {
        const DominatingPair pair = *DominatingPairOf(leaf, relation, direction);
        for (const double interval : {1e-4, 1e-2, 0.7}) {
          const Totals totals = TotalsOf(Discretize(pair, interval));
          EXPECT_NEAR(totals.p, 1, 1e-10) << leaf.kind.index() << ' ' << interval;
          EXPECT_NEAR(totals.q, 1, 1e-10) << leaf.kind.index() << ' ' << interval;
        }
      }
    }
  }
}

TEST(DiscretizeTest, HasPositiveMassesOnly) {
  for (const CountedLeaf& leaf : ManyLeaves()) {
    const LossDistribution distribution =
        Discretize(*DominatingPairOf(leaf, kAddRemove, Direction::kRemove), 1e-4);
    for (const double mass : distribution.masses()) ASSERT_GE(mass, 0);
  }
}

// Connecting the dots means that the profile is exact on the grid, and above in between.
TEST(DiscretizeTest, HasTheExactProfileOnTheGridAndMoreBetween) {
  for (const Direction direction : {Direction::kRemove, Direction::kAdd}) {
    for (const double rate : {0.001, 0.05, 0.6}) {
      for (const double noise : {0.5, 1.0, 3.0}) {
        const LossDistribution distribution = Discretize(
            *DominatingPairOf(Sampled(Sampling::kPoisson, rate, noise), kAddRemove, direction),
            0.01);
        for (double epsilon = 0; epsilon < 3; epsilon += 0.13) {
          const double exact = PoissonDelta(direction, rate, noise, epsilon);
          EXPECT_NEAR(distribution.DeltaAt(epsilon), exact, 1e-13)
              << rate << ' ' << noise << ' ' << epsilon;
          const double between = PoissonDelta(direction, rate, noise, epsilon + 0.004);
          EXPECT_GE(distribution.DeltaAt(epsilon + 0.004), between - 1e-14);
        }
      }
    }
  }
}

TEST(DiscretizeTest, AgreesWithTheExactGaussian) {
  const LossDistribution distribution =
      Discretize(*DominatingPairOf({.kind = Gaussian{1}}, kAddRemove, Direction::kRemove), 1e-3);
  for (const double delta : {0.3, 1e-2, 1e-5, 1e-9, 1e-14}) {
    EXPECT_GE(distribution.EpsilonAt(delta), GaussianEpsilon(1, delta) - 1e-11);
    EXPECT_LE(distribution.EpsilonAt(delta), GaussianEpsilon(1, delta) + 1e-6);
  }
}

TEST(DiscretizeTest, CountsMoreTheCoarserTheGrid) {
  for (const CountedLeaf& leaf : ManyLeaves()) {
    const DominatingPair pair = *DominatingPairOf(leaf, kAddRemove, Direction::kRemove);
    const LossDistribution fine = Discretize(pair, 0.001);
    const LossDistribution coarse = Discretize(pair, 0.01);  // Its grid is part of the fine one.
    for (double epsilon = 0; epsilon < 2; epsilon += 0.0173) {
      EXPECT_GE(coarse.DeltaAt(epsilon), fine.DeltaAt(epsilon) - 1e-13) << leaf.kind.index();
    }
  }
}

TEST(DiscretizeTest, KnowsThatReplacingIsItsOwnReverse) {
  for (const CountedLeaf& leaf :
       {Sampled(Sampling::kPoisson, 0.05, 1.2), Sampled(Sampling::kFixedSize, 0.05, 1.2)}) {
    const LossDistribution forward =
        Discretize(*DominatingPairOf(leaf, kReplace, Direction::kRemove), 0.01);
    // Of a pair that is its own reverse, delta(-epsilon) = 1 - e^-epsilon (1 - delta(epsilon)).
    for (double epsilon = 0.01; epsilon < 0.05; epsilon += 0.01) {
      EXPECT_NEAR(forward.DeltaAt(-epsilon),
                  1 - std::exp(-epsilon) * (1 - forward.DeltaAt(epsilon)), 1e-9);
    }
  }
}

TEST(DiscretizeTest, PutsTheTailIntoTheInfiniteLoss) {
  const LossDistribution distribution =
      Discretize(*DominatingPairOf({.kind = Gaussian{1}}, kAddRemove, Direction::kRemove), 1e-3);
  EXPECT_GT(distribution.infinite_mass(), 0);
  EXPECT_LT(distribution.infinite_mass(), 1e-20);
  EXPECT_EQ(distribution.EpsilonAt(distribution.infinite_mass() / 2), kInfinity);
}

TEST(LossDistributionTest, AnswersFromItsMasses) {
  // ln 2 and -ln 2 with probabilities 2/3 and 1/3: randomised response.
  const double interval = std::log(2);
  const LossDistribution response(interval, -1, {1.0 / 3, 0, 2.0 / 3}, 0);
  EXPECT_NEAR(response.DeltaAt(0), 1.0 / 3, 1e-15);
  EXPECT_NEAR(response.DeltaAt(interval / 2), 2.0 / 3 * (1 - std::sqrt(0.5)), 1e-15);
  EXPECT_EQ(response.DeltaAt(interval), 0);
  EXPECT_EQ(response.DeltaAt(50), 0);
  EXPECT_NEAR(response.EpsilonAt(1e-12), interval, 1e-11);
  EXPECT_NEAR(response.EpsilonAt(response.DeltaAt(0.4)), 0.4, 1e-12);
  EXPECT_EQ(response.EpsilonAt(0.34), 0);
}

TEST(LossDistributionTest, SaysMoreBelowWhatItKnows) {
  const LossDistribution tail(0.1, 30, {0.5, 0.25}, 0);
  EXPECT_EQ(tail.DeltaAt(2), 1);
  EXPECT_NEAR(tail.EpsilonAt(0.9), 3.0, 1e-12);
}

TEST(LossDistributionTest, InvertsDelta) {
  const LossDistribution distribution = Discretize(
      *DominatingPairOf(Sampled(Sampling::kPoisson, 0.1, 0.8), kAddRemove, Direction::kRemove),
      1e-3);
  for (double epsilon = 0.05; epsilon < 6; epsilon += 0.21) {
    const double delta = distribution.DeltaAt(epsilon);
    EXPECT_NEAR(distribution.EpsilonAt(delta), epsilon, 1e-9) << epsilon;
  }
}

TEST(LossDeviationTest, IsThatOfTheLoss) {
  // The loss of a Gaussian deviates by mu.
  EXPECT_NEAR(
      LossDeviation(*DominatingPairOf({.kind = Gaussian{4}}, kAddRemove, Direction::kRemove)), 0.25,
      1e-9);
  // Of a small share, by about the root of the chi-square distance q^2 (e^(1/noise^2) - 1).
  EXPECT_NEAR(LossDeviation(*DominatingPairOf(Sampled(Sampling::kPoisson, 1e-4, 2), kAddRemove,
                                              Direction::kRemove)) /
                  (1e-4 * std::sqrt(std::expm1(0.25))),
              1, 1e-3);
}

}  // namespace
}  // namespace chorale::privacy
