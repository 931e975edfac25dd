#include "coordinator/aggregation/noisy_newton.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "coordinator/aggregation/newton_solver.h"
#include "core/random.h"

namespace chorale::coordinator {
namespace {

using testing::DoubleNear;
using testing::HasSubstr;
using testing::Pointwise;

using Vector = std::vector<double>;

// Sums over rows that are like those of a regression, with the intercept last.
struct Sums {
  Vector gradient;
  Vector hessian;
};
Sums Draw(std::size_t p, std::size_t num_rows) {
  SeededRandom random(p);
  Sums sums{.gradient = Vector(p), .hessian = Vector(p * (p + 1) / 2)};
  for (std::size_t row = 0; row < num_rows; ++row) {
    Vector x(p, 1);
    for (std::size_t i = 0; i + 1 < p; ++i) x[i] = 2 * random.NextDouble() - 1;
    const double residual = random.NextDouble() - 0.3;
    auto next = sums.hessian.begin();
    for (std::size_t i = 0; i < p; ++i) {
      sums.gradient[i] += residual * x[i];
      for (std::size_t j = i; j < p; ++j) *next++ += x[i] * x[j];
    }
  }
  return sums;
}

Vector StepOf(const NoisyNewtonRules& rules, const Vector& coefficients, const Sums& sums) {
  const auto step = StepNoisyNewton(rules, coefficients, sums.gradient, sums.hessian);
  EXPECT_TRUE(step.ok()) << step.status();
  return step.ok() ? *step : Vector(coefficients.size());
}

TEST(NoisyNewtonTest, WithoutNoiseAStepIsThatOfTheExactSolver) {
  for (const std::size_t p : {1u, 2u, 7u, 40u}) {
    const Sums sums = Draw(p, 300);
    for (const bool has_intercept : {true, false}) {
      for (const double l2_penalty : {0.0, 3.0}) {
        Vector coefficients(p);
        for (std::size_t i = 0; i < p; ++i) coefficients[i] = 0.1 * static_cast<double>(i) - 0.3;
        Vector exact = {100, 300};  // Loss, rows.
        exact.insert(exact.end(), sums.gradient.begin(), sums.gradient.end());
        exact.insert(exact.end(), sums.hessian.begin(), sums.hessian.end());
        const auto expected =
            StepNewton({.l2_penalty = l2_penalty, .damping = 0.75, .has_intercept = has_intercept},
                       coefficients, exact, {});
        ASSERT_TRUE(expected.ok());
        EXPECT_THAT(
            StepOf({.l2_penalty = l2_penalty, .damping = 0.75, .has_intercept = has_intercept},
                   coefficients, sums),
            Pointwise(DoubleNear(1e-9), expected->coefficients));
      }
    }
  }
}

TEST(NoisyNewtonTest, EigenvaluesBelowTheNoiseAreRaisedToItsLevel) {
  // deviation * sqrt(2 * 2) / 2 = deviation: the eigenvalues 8, 0.5 and -3 become 8, 1 and 1.
  const NoisyNewtonRules rules{.has_intercept = false, .hessian_deviation = 1};
  EXPECT_THAT(StepOf(rules, {0, 0}, {.gradient = {4, 4}, .hessian = {8, 0, 0.5}}),
              Pointwise(DoubleNear(1e-12), Vector{-0.5, -4}));
  EXPECT_THAT(StepOf(rules, {0, 0}, {.gradient = {4, 4}, .hessian = {8, 0, -3}}),
              Pointwise(DoubleNear(1e-12), Vector{-0.5, -4}));
  // The same in other axes: eigenvectors (1, 1) and (1, -1), eigenvalues 8 and -3.
  EXPECT_THAT(StepOf(rules, {0, 0}, {.gradient = {4, -4}, .hessian = {2.5, 5.5, 2.5}}),
              Pointwise(DoubleNear(1e-12), Vector{-4, 4}));
}

TEST(NoisyNewtonTest, AStepFromPureNoiseNeverGoesUphill) {
  SeededRandom random(3);
  for (int trial = 0; trial < 100; ++trial) {
    Sums sums = Draw(6, 0);
    for (double& value : sums.gradient) value = random.NextDouble() - 0.5;
    for (double& value : sums.hessian) value = 20 * (random.NextDouble() - 0.5);
    const Vector step = StepOf({.hessian_deviation = 1}, Vector(6), sums);
    double slope = 0;
    for (std::size_t i = 0; i < step.size(); ++i) slope += step[i] * sums.gradient[i];
    EXPECT_LT(slope, 0);
  }
}

TEST(NoisyNewtonTest, AStepIsShortenedToItsBound) {
  const Sums sums{.gradient = {-30, -40}, .hessian = {1, 0, 1}};
  EXPECT_THAT(StepOf({.max_step = 5}, {1, 1}, sums), Pointwise(DoubleNear(1e-12), Vector{4, 5}));
  EXPECT_THAT(StepOf({.max_step = 100}, {1, 1}, sums),
              Pointwise(DoubleNear(1e-12), Vector{31, 41}));
  EXPECT_THAT(StepOf({}, {1, 1}, sums), Pointwise(DoubleNear(1e-12), Vector{31, 41}));
}

TEST(NoisyNewtonTest, HostileSumsAreAnErrorAndNeverCoefficientsThatAreNoNumbers) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kLargest = std::numeric_limits<double>::max();
  const double hostile[] = {std::nan(""), kInfinity, -kInfinity, kLargest, -kLargest, 1e300,
                            -1e-300,      0,         -1,         0x1p63,   -0x1p63};
  SeededRandom random(11);
  const auto any = [&] { return hostile[random.NextBelow(std::size(hostile))]; };
  for (int trial = 0; trial < 2000; ++trial) {
    Sums sums = Draw(4, 50);
    for (int change = 0; change < 1 + trial % 5; ++change) {
      sums.gradient[random.NextBelow(sums.gradient.size())] = any();
      sums.hessian[random.NextBelow(sums.hessian.size())] = any();
    }
    NoisyNewtonRules rules{.l2_penalty = trial % 3 == 0 ? 1.0 : 0.0,
                           .hessian_deviation = trial % 2 == 0 ? 3.0 : 0.0};
    if (trial % 4 == 0) rules.max_step = 10;
    const auto step = StepNoisyNewton(rules, Vector(4), sums.gradient, sums.hessian);
    if (!step.ok()) {
      EXPECT_EQ(step.status().code(), StatusCode::kFailedPrecondition);
      continue;
    }
    for (const double value : *step) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(NoisyNewtonTest, SaysWhatIsWrong) {
  const auto message_of = [](const Vector& coefficients, const Sums& sums) {
    return MessageOf(StepNoisyNewton({}, coefficients, sums.gradient, sums.hessian).status());
  };
  EXPECT_THAT(message_of({}, {}), HasSubstr("0 coefficients"));
  EXPECT_THAT(message_of({0, 0}, {.gradient = {1, 1}, .hessian = {1, 1}}),
              HasSubstr("got 2 and 2"));
  EXPECT_THAT(message_of({0}, {.gradient = {std::nan("")}, .hessian = {1}}), HasSubstr("finite"));
  EXPECT_THAT(message_of({0}, {.gradient = {1}, .hessian = {-1}}),
              HasSubstr("no positive eigenvalue"));
}

}  // namespace
}  // namespace chorale::coordinator
