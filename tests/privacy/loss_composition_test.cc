#include "privacy/loss_composition.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "privacy/dominating_pair.h"
#include "privacy/gaussian.h"
#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

constexpr auto kAddRemove = NeighboringRelation::kAddOrRemoveOne;

LossDistribution PoissonLoss(double rate, double noise, double interval,
                             Direction direction = Direction::kRemove) {
  return Discretize(*DominatingPairOf({.kind = SampledGaussian{.sampling = Sampling::kPoisson,
                                                               .sample_rate = rate,
                                                               .noise_multiplier = noise}},
                                      kAddRemove, direction),
                    interval);
}

LossDistribution GaussianLoss(double noise, double interval) {
  return Discretize(*DominatingPairOf({.kind = Gaussian{noise}}, kAddRemove, Direction::kRemove),
                    interval);
}

double Ask(const std::vector<RepeatedLoss>& parts, TailQuestion::Kind kind, double value) {
  double points_wanted = 0;
  const StatusOr<double> answer = AnswerOfSum(parts, {.kind = kind, .value = value}, points_wanted);
  EXPECT_TRUE(answer.ok()) << answer.status();
  return *answer;
}
double EpsilonOfSum(const std::vector<RepeatedLoss>& parts, double delta) {
  return Ask(parts, TailQuestion::Kind::kEpsilonAtDelta, delta);
}
double DeltaOfSum(const std::vector<RepeatedLoss>& parts, double epsilon) {
  return Ask(parts, TailQuestion::Kind::kDeltaAtEpsilon, epsilon);
}

// The sum of two, term by term.
LossDistribution Convolve(const LossDistribution& a, const LossDistribution& b) {
  std::vector<double> masses(a.masses().size() + b.masses().size() - 1);
  for (std::size_t i = 0; i < a.masses().size(); ++i) {
    for (std::size_t j = 0; j < b.masses().size(); ++j) {
      masses[i + j] += a.masses()[i] * b.masses()[j];
    }
  }
  const double infinite = 1 - (1 - a.infinite_mass()) * (1 - b.infinite_mass());
  return {a.interval(), a.first() + b.first(), std::move(masses), infinite};
}

TEST(LossCompositionTest, AgreesWithPlainConvolution) {
  const LossDistribution first = PoissonLoss(0.1, 1, 0.01);
  const LossDistribution second = PoissonLoss(0.3, 2, 0.01, Direction::kAdd);
  const LossDistribution plain = Convolve(Convolve(first, first), second);
  const std::vector<RepeatedLoss> parts = {{&first, 2}, {&second, 1}};
  for (const double delta : {0.2, 1e-2, 1e-5, 1e-9, 1e-14}) {
    EXPECT_NEAR(EpsilonOfSum(parts, delta), plain.EpsilonAt(delta), 1e-8) << delta;
  }
  for (const double epsilon : {0.0, 0.3, 1.0, 2.5}) {
    EXPECT_NEAR(DeltaOfSum(parts, epsilon) / plain.DeltaAt(epsilon), 1, 1e-8) << epsilon;
  }
}

TEST(LossCompositionTest, IsJustAboveTheExactGaussian) {
  for (const double noise : {0.5, 2.0, 30.0}) {
    for (const std::uint64_t count : {2ULL, 10ULL, 400ULL, 10'000ULL}) {
      const double mu = std::sqrt(static_cast<double>(count)) / noise;
      if (mu > 25) continue;
      const double interval = std::min(1e-3, 0.05 / noise);
      const LossDistribution step = GaussianLoss(noise, interval);
      for (const double delta : {0.1, 1e-5, 1e-9, 1e-13}) {
        const double exact = GaussianEpsilon(mu, delta);
        const double composed = EpsilonOfSum({{&step, count}}, delta);
        EXPECT_GE(composed, exact - 1e-9 * (1 + exact)) << noise << ' ' << count << ' ' << delta;
        EXPECT_LE(composed, exact * 1.001 + 1e-6) << noise << ' ' << count << ' ' << delta;
      }
    }
  }
}

TEST(LossCompositionTest, KeepsItsDigitsWhereDeltaIsTiny) {
  const LossDistribution step = GaussianLoss(20, 5e-4);
  for (const double epsilon : {1.0, 5.0, 12.0, 20.0}) {
    // delta falls to 1e-40, far below what a transform resolves next to masses of 1.
    const double exact = GaussianDelta(std::sqrt(1000) / 20, epsilon);
    const double composed = DeltaOfSum({{&step, 1000}}, epsilon);
    const double truncated = 1000 * 1e-22;
    EXPECT_GE(composed, exact * (1 - 1e-9)) << epsilon;
    EXPECT_LE(composed, exact * 1.01 + 2 * truncated) << epsilon;
  }
}

TEST(LossCompositionTest, DoesNotDependOnTheOrderOrTheGrouping) {
  const LossDistribution first = PoissonLoss(0.02, 1, 1e-3);
  const LossDistribution second = PoissonLoss(0.2, 3, 1e-3);
  const double together = EpsilonOfSum({{&first, 60}, {&second, 40}}, 1e-6);
  EXPECT_NEAR(EpsilonOfSum({{&second, 40}, {&first, 60}}, 1e-6), together, 1e-9);
  EXPECT_NEAR(EpsilonOfSum({{&first, 25}, {&second, 39}, {&first, 35}, {&second, 1}}, 1e-6),
              together, 1e-9);
}

// Few rare and large losses: the sum is far from normal, where windows chosen for a normal one
// fail.
TEST(LossCompositionTest, KnowsSumsOfRareLosses) {
  const LossDistribution step = PoissonLoss(0.01, 0.8, 0.01);
  LossDistribution plain = step;
  for (int i = 1; i < 6; ++i) plain = Convolve(plain, step);
  for (const double delta : {1e-2, 1e-4, 1e-6, 1e-9}) {
    EXPECT_NEAR(EpsilonOfSum({{&step, 6}}, delta), plain.EpsilonAt(delta), 1e-8) << delta;
  }
}

// Losses with a largest one, which the Chernoff bound takes for the answer.
TEST(LossCompositionTest, KnowsSumsOfBoundedLosses) {
  for (const double rate : {0.01, 0.2, 0.8}) {
    const LossDistribution step = PoissonLoss(rate, 0.3, 0.002, Direction::kAdd);
    const LossDistribution plain = Convolve(Convolve(step, step), step);
    for (const double delta : {0.5, 0.1, 1e-2, 1e-4, 1e-9}) {
      EXPECT_NEAR(EpsilonOfSum({{&step, 3}}, delta), plain.EpsilonAt(delta), 1e-8)
          << rate << ' ' << delta;
    }
  }
}

TEST(LossCompositionTest, GivesTheSameThroughANarrowWindow) {
  // Wide enough to be narrowed; halving the interval of the grid changes little, so that a window
  // that lost or wrapped mass would show.
  const LossDistribution fine = PoissonLoss(0.05, 1, 1e-4);
  const LossDistribution coarse = PoissonLoss(0.05, 1, 2e-4);
  for (const std::uint64_t count : {60ULL, 1000ULL, 10'000ULL}) {
    for (const double delta : {0.3, 1e-3, 1e-5, 1e-10}) {
      const double expected = EpsilonOfSum({{&fine, count}}, delta);
      const double found = EpsilonOfSum({{&coarse, count}}, delta);
      EXPECT_GE(found, expected - 1e-9) << count << ' ' << delta;
      EXPECT_LE(found, expected + 1e-4) << count << ' ' << delta;
    }
  }
}

TEST(LossCompositionTest, DoesNotTrustANarrowWindowForRareLosses) {
  const LossDistribution fine = PoissonLoss(0.01, 0.6, 2e-5);    // Too many points not to narrow,
  const LossDistribution coarse = PoissonLoss(0.01, 0.6, 2e-4);  // and too few to do so.
  for (const double delta : {1e-3, 1e-5}) {
    EXPECT_NEAR(EpsilonOfSum({{&fine, 100}}, delta), EpsilonOfSum({{&coarse, 100}}, delta), 2e-5)
        << delta;
  }
}

TEST(LossCompositionTest, InvertsDelta) {
  const LossDistribution step = PoissonLoss(0.05, 1.2, 1e-3);
  for (const double delta : {0.2, 1e-3, 1e-6, 1e-12}) {
    const double epsilon = EpsilonOfSum({{&step, 300}}, delta);
    EXPECT_NEAR(DeltaOfSum({{&step, 300}}, epsilon) / delta, 1, 1e-6) << delta;
  }
}

TEST(LossCompositionTest, IsNoMoreThanCertain) {
  const LossDistribution step = GaussianLoss(0.5, 0.01);
  EXPECT_LE(DeltaOfSum({{&step, 1000}}, 0), 1);
  EXPECT_GE(DeltaOfSum({{&step, 1000}}, 0), 1 - 1e-9);
  EXPECT_EQ(EpsilonOfSum({{&step, 1}}, 0.99), 0);
}

TEST(LossCompositionTest, SaysHowManyPointsItWouldTake) {
  const LossDistribution step = GaussianLoss(0.5, 1e-4);
  double points_wanted = 0;
  const std::vector<RepeatedLoss> parts = {{&step, 1'000'000}};
  const StatusOr<double> answer = AnswerOfSum(
      parts, {.kind = TailQuestion::Kind::kEpsilonAtDelta, .value = 1e-5}, points_wanted);
  EXPECT_EQ(answer.status().code(), StatusCode::kResourceExhausted);
  EXPECT_GT(points_wanted, static_cast<double>(kMaxGridPoints));
}

}  // namespace
}  // namespace chorale::privacy
