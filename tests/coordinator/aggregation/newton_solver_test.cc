#include "coordinator/aggregation/newton_solver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace chorale::coordinator {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Rows {
  std::vector<std::vector<double>> x;  // Without the intercept.
  std::vector<double> y;
};

// Loss, rows, gradient and Hessian of a logistic regression with an intercept, row by row.
std::vector<double> LogisticSums(const Rows& rows, const std::vector<double>& coefficients) {
  const std::size_t p = coefficients.size();
  std::vector<double> sums(2 + p + p * (p + 1) / 2);
  for (std::size_t i = 0; i < rows.y.size(); ++i) {
    std::vector<double> x = rows.x[i];
    x.push_back(1);
    double eta = 0;
    for (std::size_t j = 0; j < p; ++j) eta += x[j] * coefficients[j];
    const double probability = 1 / (1 + std::exp(-eta));
    sums[0] += std::log1p(std::exp(-std::abs(eta))) + std::max(eta, 0.0) - rows.y[i] * eta;
    sums[1] += 1;
    std::size_t next = 2 + p;
    for (std::size_t j = 0; j < p; ++j) {
      sums[2 + j] += (probability - rows.y[i]) * x[j];
      for (std::size_t k = j; k < p; ++k) {
        sums[next++] += probability * (1 - probability) * x[j] * x[k];
      }
    }
  }
  return sums;
}

struct Solution {
  std::vector<double> coefficients;
  std::string converged = {};
  std::string warning = {};
  std::vector<std::size_t> collinear = {};
  std::vector<double> losses = {};  // At the best point of each round.
};

Solution Solve(const NewtonRules& rules, const Rows& rows, int max_rounds = 60) {
  Solution solution{.coefficients = std::vector<double>(rows.x[0].size() + 1)};
  NewtonState state;
  for (int round = 0; round < max_rounds && solution.converged.empty(); ++round) {
    const auto step =
        StepNewton(rules, solution.coefficients, LogisticSums(rows, solution.coefficients), state);
    EXPECT_TRUE(step.ok()) << step.status();
    if (!step.ok()) break;
    state = step->state;
    solution.coefficients = step->coefficients;
    solution.converged = step->converged;
    solution.warning = step->warning;
    solution.collinear = step->collinear;
    solution.losses.push_back(state.loss);
  }
  return solution;
}

// Two columns that overlap; the second is wide.
Rows MakeRows() {
  return {{{0, 100}, {1, 300}, {2, 200}, {3, 100}, {4, 400}, {5, 100}, {2, 500}, {1, 0}},
          {0, 1, 0, 1, 1, 1, 0, 0}};
}

double MaxGradient(const NewtonRules& rules, const Rows& rows,
                   const std::vector<double>& coefficients) {
  const std::vector<double> sums = LogisticSums(rows, coefficients);
  double most = 0;
  for (std::size_t j = 0; j < coefficients.size(); ++j) {
    const double penalty = j + 1 < coefficients.size() ? rules.l2_penalty * coefficients[j] : 0.0;
    most = std::max(most, std::abs(sums[2 + j] + penalty));
  }
  return most;
}

TEST(NewtonSolverTest, FindsWhereTheGradientVanishes) {
  const Solution solution = Solve({}, MakeRows());

  EXPECT_THAT(solution.converged, HasSubstr("decrement"));
  EXPECT_THAT(solution.warning, IsEmpty());
  EXPECT_LE(solution.losses.size(), 9u);
  EXPECT_LT(MaxGradient({}, MakeRows(), solution.coefficients), 1e-9);
}

TEST(NewtonSolverTest, PenalisesEveryCoefficientButTheIntercept) {
  const NewtonRules rules{.l2_penalty = 0.7};

  const Solution solution = Solve(rules, MakeRows());

  EXPECT_LT(MaxGradient(rules, MakeRows(), solution.coefficients), 1e-9);
}

TEST(NewtonSolverTest, ArrivesAtTheSamePlaceWithDampedSteps) {
  const Solution full = Solve({}, MakeRows());
  const Solution damped = Solve({.damping = 0.5}, MakeRows());

  EXPECT_GT(damped.losses.size(), full.losses.size());
  for (std::size_t j = 0; j < full.coefficients.size(); ++j) {
    EXPECT_NEAR(damped.coefficients[j], full.coefficients[j], 1e-8);
  }
}

TEST(NewtonSolverTest, NeverRaisesTheLoss) {
  for (const double damping : {0.3, 1.0}) {
    const Solution solution = Solve({.damping = damping}, MakeRows());

    EXPECT_TRUE(std::is_sorted(solution.losses.rbegin(), solution.losses.rend()));
  }
}

// ---------------------------------------------------------------------------- halving

NewtonState StateAt(double loss) {
  return {.loss = loss, .rows = 5, .share = 1, .best = {1}, .direction = {4}, .scale = {1}};
}
// Loss, rows, gradient, Hessian at one coefficient.
std::vector<double> SumsOf(double loss, double rows = 5) { return {loss, rows, 2, 1}; }
constexpr NewtonRules kOneCoefficient{.has_intercept = false};

TEST(NewtonSolverTest, HalvesAStepThatRaisedTheLoss) {
  const auto once = StepNewton(kOneCoefficient, std::vector<double>{5}, SumsOf(2), StateAt(1));
  ASSERT_TRUE(once.ok()) << once.status();
  const auto twice = StepNewton(kOneCoefficient, once->coefficients, SumsOf(1.5), once->state);
  ASSERT_TRUE(twice.ok()) << twice.status();

  EXPECT_THAT(once->coefficients, ElementsAre(3));
  EXPECT_THAT(twice->coefficients, ElementsAre(2));
  EXPECT_THAT(twice->state.best, ElementsAre(1));
  EXPECT_THAT(twice->converged, IsEmpty());
}

TEST(NewtonSolverTest, EndsAtTheBestPointWhenNoStepLowersTheLoss) {
  NewtonState state = StateAt(1);
  std::vector<double> coefficients = {5};
  std::string converged;
  int halvings = 0;
  for (; converged.empty() && halvings < 100; ++halvings) {
    const auto step = StepNewton(kOneCoefficient, coefficients, SumsOf(2), state);
    ASSERT_TRUE(step.ok()) << step.status();
    state = step->state;
    coefficients = step->coefficients;
    converged = step->converged;
  }

  EXPECT_EQ(halvings, 31);
  EXPECT_THAT(coefficients, ElementsAre(1));
}

TEST(NewtonSolverTest, TakesALossThatDiffersByRoundingForNoRise) {
  const auto step =
      StepNewton(kOneCoefficient, std::vector<double>{5}, SumsOf(1 + 1e-13), StateAt(1));

  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_THAT(step->coefficients, ElementsAre(3));  // 5 - 2 / 1.
  EXPECT_THAT(step->state.best, ElementsAre(5));
}

TEST(NewtonSolverTest, DoesNotCompareLossesOfOtherRows) {
  const auto step = StepNewton(kOneCoefficient, std::vector<double>{5}, SumsOf(2, 9), StateAt(1));

  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_THAT(step->state.best, ElementsAre(5));
  EXPECT_EQ(step->state.loss, 2);
}

TEST(NewtonSolverTest, TakesNoUnseenStepThatIsLong) {
  // Half the squared decrement is 2^2 / 1 / 2.
  const NewtonRules rules{.tolerance = 3, .has_intercept = false};

  const auto step = StepNewton(rules, std::vector<double>{5}, SumsOf(1), {});

  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_THAT(step->converged, HasSubstr("within"));
  EXPECT_THAT(step->coefficients, ElementsAre(5));
}

// ---------------------------------------------------------------------------- columns without rank

TEST(NewtonSolverTest, SharesACoefficientAmongEqualColumnsWithAWarning) {
  Rows rows = MakeRows();
  const Solution single = Solve({}, rows);
  for (std::vector<double>& x : rows.x) x.push_back(x[0]);

  const Solution twin = Solve({}, rows);

  EXPECT_THAT(twin.converged, HasSubstr("decrement"));
  EXPECT_THAT(twin.warning, HasSubstr("input 0, input 2"));
  EXPECT_THAT(twin.collinear, ElementsAre(0u, 2u));
  EXPECT_NEAR(twin.coefficients[0], single.coefficients[0] / 2, 1e-9);
  EXPECT_NEAR(twin.coefficients[2], single.coefficients[0] / 2, 1e-9);
  EXPECT_NEAR(twin.coefficients[3], single.coefficients[2], 1e-9);
}

TEST(NewtonSolverTest, SurvivesAColumnThatIsConstant) {
  Rows rows = MakeRows();
  const Solution plain = Solve({}, rows);
  for (std::vector<double>& x : rows.x) x.insert(x.begin(), 7);

  const Solution constant = Solve({}, rows);

  EXPECT_THAT(constant.warning, HasSubstr("input 0, the intercept"));
  EXPECT_NEAR(constant.coefficients[1], plain.coefficients[0], 1e-9);
  EXPECT_NEAR(7 * constant.coefficients[0] + constant.coefficients[3], plain.coefficients[2], 1e-8);
}

TEST(NewtonSolverTest, LeavesAColumnOfZerosAtZero) {
  Rows rows = MakeRows();
  for (std::vector<double>& x : rows.x) x[1] = 0;

  const Solution solution = Solve({}, rows);

  EXPECT_EQ(solution.coefficients[1], 0);
  EXPECT_THAT(solution.collinear, ElementsAre(1u));
}

TEST(NewtonSolverTest, NeedsNoWarningWhenAPenaltyTellsEqualColumnsApart) {
  Rows rows = MakeRows();
  for (std::vector<double>& x : rows.x) x.push_back(x[0]);

  const Solution solution = Solve({.l2_penalty = 1}, rows);

  EXPECT_THAT(solution.warning, IsEmpty());
  EXPECT_NEAR(solution.coefficients[0], solution.coefficients[2], 1e-12);
}

TEST(NewtonSolverTest, StaysAtTheStartWhenTheSumsSayNothing) {
  const std::vector<double> nothing(2 + 2 + 3);

  const auto step = StepNewton({}, std::vector<double>{0, 0}, nothing, {});

  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_THAT(step->converged, testing::Not(IsEmpty()));
  EXPECT_THAT(step->coefficients, ElementsAre(0, 0));
  EXPECT_THAT(step->warning, HasSubstr("input 0, the intercept"));
}

// ---------------------------------------------------------------------------- separation

TEST(NewtonSolverTest, EndsWithAWarningWhenAColumnTellsTheOutcomeApart) {
  const Rows complete = {{{-3}, {-2}, {-1}, {1}, {2}, {3}}, {0, 0, 0, 1, 1, 1}};
  // A rare column whose rows all have the outcome, beside one that overlaps.
  Rows partial = MakeRows();
  for (std::size_t i = 0; i < partial.x.size(); ++i) partial.x[i][1] = i == 1 || i == 4 ? 1 : 0;

  for (const Rows& rows : {complete, partial}) {
    for (const double damping : {0.6, 1.0}) {
      const Solution solution = Solve({.damping = damping}, rows);

      EXPECT_THAT(solution.warning, HasSubstr("l2_penalty"));
      EXPECT_THAT(solution.converged, testing::Not(IsEmpty()));
      EXPECT_TRUE(std::is_sorted(solution.losses.rbegin(), solution.losses.rend()));
    }
    EXPECT_LE(Solve({}, rows).losses.size(), 20u);
  }
}

TEST(NewtonSolverTest, EndsWithAWarningWhenThereIsOneClassAlone) {
  Rows rows = MakeRows();
  std::fill(rows.y.begin(), rows.y.end(), 0);

  EXPECT_THAT(Solve({}, rows).warning, HasSubstr("separation"));
  // The penalty leaves the intercept free.
  EXPECT_THAT(Solve({.l2_penalty = 1}, rows).warning, HasSubstr("separation"));
}

TEST(NewtonSolverTest, FindsTheSolutionThatAPenaltyGivesToSeparatedRows) {
  const Rows rows = {{{-3}, {-2}, {-1}, {1}, {2}, {3}}, {0, 0, 0, 1, 1, 1}};

  for (const double l2_penalty : {1e-6, 1e-3, 1.0}) {
    const NewtonRules rules{.l2_penalty = l2_penalty};
    const Solution solution = Solve(rules, rows);

    EXPECT_THAT(solution.warning, IsEmpty()) << l2_penalty;
    EXPECT_LT(MaxGradient(rules, rows, solution.coefficients), 1e-9) << l2_penalty;
  }
}

// ---------------------------------------------------------------------------- hostile input

TEST(NewtonSolverTest, RefusesSizesThatDoNotFit) {
  const std::vector<double> two = {0, 0};
  const std::vector<double> sums(2 + 2 + 3, 1.0);

  for (const auto& step :
       {StepNewton({}, {}, std::vector<double>(2), {}),
        StepNewton({}, two, std::vector<double>(6), {}), StepNewton({}, two, sums, StateAt(1)),
        StepNewton({.l2_penalty = -1}, two, sums, {}), StepNewton({.damping = 0}, two, sums, {})}) {
    EXPECT_EQ(step.status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(NewtonSolverTest, RefusesSumsThatNoConvexLossHas) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::vector<double>& sums :
       std::vector<std::vector<double>>{{nan, 5, 1, 1, 1, 0, 1},
                                        {1, 5, 1, std::numeric_limits<double>::infinity(), 1, 0, 1},
                                        {1, 5, 1, 1, -1, 0, -1},
                                        {1, 5, 1, 1, 1, 5, 1},
                                        {1, 5, 1, 1, 1, 0, -1},
                                        {1, 5, 1e300, 1, 1e-300, 0, 1}}) {
    const auto step = StepNewton({}, std::vector<double>{0, 0}, sums, {});
    EXPECT_EQ(step.status().code(), StatusCode::kFailedPrecondition);
  }
}

TEST(NewtonSolverTest, KeepsItsStateInNumbers) {
  const NewtonState state = {
      .loss = 1.5, .rows = 9, .share = 0.25, .best = {1, 2}, .direction = {-3, 4}, .scale = {5, 6}};

  const auto decoded = DecodeNewtonState(Encode(state), 2);

  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(Encode(*decoded), Encode(state));
  EXPECT_THAT(decoded->direction, ElementsAre(-3, 4));
  EXPECT_THAT(Encode(NewtonState{}), IsEmpty());
  EXPECT_TRUE(DecodeNewtonState({}, 2)->best.empty());
}

TEST(NewtonSolverTest, RefusesNumbersThatAreNoState) {
  const std::vector<double> good = {1.5, 9, 0.25, 1, 2, -3, 4, 5, 6};
  ASSERT_TRUE(DecodeNewtonState(good, 2).ok());
  std::vector<std::vector<double>> bad(4, good);
  bad[0].pop_back();
  bad[1][2] = 0;
  bad[2][8] = 0;
  bad[3][4] = std::numeric_limits<double>::quiet_NaN();

  for (const std::vector<double>& numbers : bad) {
    EXPECT_EQ(DecodeNewtonState(numbers, 2).status().code(), StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace chorale::coordinator
