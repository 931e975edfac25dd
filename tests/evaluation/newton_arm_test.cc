#include "evaluation/newton_arm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/random.h"

namespace chorale::evaluation {
namespace {

using training::NewtonKind;

data::ExactExamples MakeRows(std::size_t num_rows, std::size_t num_inputs, std::uint64_t seed) {
  SeededRandom random(seed);
  data::ExactExamples rows;
  rows.num_inputs = num_inputs;
  for (std::size_t row = 0; row < num_rows; ++row) {
    double eta = 0.3;
    for (std::size_t i = 0; i < num_inputs; ++i) {
      rows.inputs.push_back(2 * random.NextDouble() - 1);
      eta += rows.inputs.back() * static_cast<double>(i + 1) / 2;
    }
    rows.targets.push_back(random.NextDouble() < 1 / (1 + std::exp(-eta)) ? 1 : 0);
    rows.patients.push_back(static_cast<std::uint32_t>(row));
  }
  return rows;
}

// The largest part of the penalised gradient at a solution.
double LargestGradient(NewtonKind kind, const data::ExactExamples& rows,
                       const std::vector<double>& at, double l2_penalty) {
  const std::vector<double> sums = training::NewtonSums(kind, rows, at).value();
  double largest = 0;
  for (std::size_t i = 0; i < at.size(); ++i) {
    const double penalty = i < rows.num_inputs ? l2_penalty * at[i] : 0;
    largest = std::max(largest, std::abs(sums[2 + i] + penalty));
  }
  return largest;
}

TEST(NewtonArmTest, ALinearModelTakesOneStepToTheNormalEquations) {
  // y = 1 + 2 x without noise.
  data::ExactExamples rows;
  rows.num_inputs = 1;
  for (const double x : {-1.0, 0.0, 2.0, 5.0}) {
    rows.inputs.push_back(x);
    rows.targets.push_back(1 + 2 * x);
  }
  const NewtonSolution solution =
      SolveNewton(NewtonKind::kLinear, rows, v1::NewtonSpec(), nullptr).value();
  ASSERT_EQ(solution.coefficients.size(), 2u);
  EXPECT_NEAR(solution.coefficients[0], 2, 1e-12);
  EXPECT_NEAR(solution.coefficients[1], 1, 1e-12);
  EXPECT_EQ(solution.num_steps, 1u);
}

TEST(NewtonArmTest, EndsWhereThePenalisedGradientVanishes) {
  const data::ExactExamples rows = MakeRows(300, 3, 1);
  for (const double penalty : {0.0, 1.0, 25.0}) {
    v1::NewtonSpec rules;
    rules.set_l2_penalty(penalty);
    rules.set_tolerance(1e-14);
    const NewtonSolution solution =
        SolveNewton(NewtonKind::kLogistic, rows, rules, nullptr).value();
    EXPECT_LT(LargestGradient(NewtonKind::kLogistic, rows, solution.coefficients, penalty), 1e-5);
    EXPECT_LT(solution.num_steps, 12u);
  }
}

TEST(NewtonArmTest, ColumnsThatRepeatShareTheirCoefficient) {
  data::ExactExamples rows = MakeRows(200, 1, 2);
  data::ExactExamples twice = rows;
  twice.num_inputs = 2;
  twice.inputs.clear();
  for (const double x : rows.inputs) twice.inputs.insert(twice.inputs.end(), {x, x});

  const auto one = SolveNewton(NewtonKind::kLogistic, rows, v1::NewtonSpec(), nullptr).value();
  const auto two = SolveNewton(NewtonKind::kLogistic, twice, v1::NewtonSpec(), nullptr).value();

  EXPECT_NEAR(two.coefficients[0], one.coefficients[0] / 2, 1e-6);
  EXPECT_NEAR(two.coefficients[1], one.coefficients[0] / 2, 1e-6);
}

TEST(NewtonArmTest, OneClassEndsWithoutAnError) {
  data::ExactExamples rows = MakeRows(30, 2, 3);
  std::fill(rows.targets.begin(), rows.targets.end(), 1.0);
  const auto solution = SolveNewton(NewtonKind::kLogistic, rows, v1::NewtonSpec(), nullptr);
  ASSERT_TRUE(solution.ok());
  for (const double c : solution->coefficients) EXPECT_TRUE(std::isfinite(c));
}

TEST(NewtonArmTest, StopsWhenItIsTold) {
  const std::atomic<bool> cancelled = true;
  EXPECT_EQ(SolveNewton(NewtonKind::kLogistic, MakeRows(30, 2, 3), v1::NewtonSpec(), &cancelled)
                .status()
                .code(),
            StatusCode::kCancelled);
}

}  // namespace
}  // namespace chorale::evaluation
