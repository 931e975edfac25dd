#include "training/newton_patients.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "core/random.h"
#include "privacy/noise/grid.h"

namespace chorale::training {
namespace {

using testing::DoubleNear;
using testing::Each;
using testing::HasSubstr;
using testing::Pointwise;

using Vector = std::vector<double>;
using Patients = std::vector<std::vector<std::size_t>>;

constexpr NewtonKind kKinds[] = {NewtonKind::kLogistic, NewtonKind::kLinear};
constexpr NewtonBounds kWide{.gradient = 1e9, .hessian = 1e9, .hessian_share = 0.25};
constexpr NewtonBounds kTight{.gradient = 0.5, .hessian = 0.8, .hessian_share = 0.3};

// `most_rows` rows for each patient at most, in mixed order.
struct Table {
  data::ExactExamples examples;
  Patients patients;
  Vector coefficients;
};
Table Draw(NewtonKind kind, std::size_t num_patients, std::size_t num_inputs,
           std::size_t most_rows = 3) {
  SeededRandom random(num_patients + 100 * num_inputs);
  Table table;
  table.examples.num_inputs = num_inputs;
  table.patients.resize(num_patients);
  for (std::size_t row = 0; row < num_patients * most_rows; ++row) {
    const std::size_t patient = row % num_patients;
    if (row >= num_patients && random.NextDouble() < 0.5) continue;
    table.patients[patient].push_back(table.examples.targets.size());
    for (std::size_t i = 0; i < num_inputs; ++i) {
      table.examples.inputs.push_back(2 * random.NextDouble() - 1);
    }
    table.examples.targets.push_back(kind == NewtonKind::kLogistic
                                         ? (random.NextDouble() < 0.4 ? 1 : 0)
                                         : 4 * random.NextDouble() - 2);
  }
  for (std::size_t i = 0; i <= num_inputs; ++i) {
    table.coefficients.push_back(random.NextDouble() - 0.5);
  }
  return table;
}

std::vector<Vector> VectorsOf(NewtonKind kind, const Table& table, const NewtonBounds& bounds) {
  std::vector<Vector> vectors;
  const Status status = ForEachNewtonPatient(
      kind, table.examples, table.coefficients, bounds, table.patients,
      [&](std::span<const double> vector) { vectors.emplace_back(vector.begin(), vector.end()); });
  EXPECT_TRUE(status.ok()) << status;
  return vectors;
}

double LengthOf(std::span<const double> numbers) {
  double squares = 0;
  for (const double number : numbers) squares += number * number;
  return std::sqrt(squares);
}

// One patient's vector by plain loops, from the formula in the header.
Vector PlainVector(NewtonKind kind, const Table& table, const std::vector<std::size_t>& rows,
                   const NewtonBounds& bounds) {
  const std::size_t p = table.coefficients.size();
  Vector gradient(p);
  std::vector<Vector> hessian(p, Vector(p));
  for (const std::size_t row : rows) {
    Vector x(table.examples.inputs.begin() + static_cast<std::ptrdiff_t>(row * (p - 1)),
             table.examples.inputs.begin() + static_cast<std::ptrdiff_t>((row + 1) * (p - 1)));
    x.push_back(1);
    double eta = 0;
    for (std::size_t i = 0; i < p; ++i) eta += x[i] * table.coefficients[i];
    const double rate = 1 / (1 + std::exp(-eta));
    const bool is_logistic = kind == NewtonKind::kLogistic;
    const double residual = (is_logistic ? rate : eta) - table.examples.targets[row];
    for (std::size_t i = 0; i < p; ++i) {
      gradient[i] += residual * x[i];
      for (std::size_t j = 0; j < p; ++j) {
        hessian[i][j] += (is_logistic ? rate * (1 - rate) : 1) * x[i] * x[j];
      }
    }
  }
  double frobenius = 0;
  for (const Vector& line : hessian) frobenius += LengthOf(line) * LengthOf(line);
  frobenius = std::sqrt(frobenius);
  Vector vector;
  for (const double value : gradient) {
    vector.push_back(std::sqrt(1 - bounds.hessian_share) * value *
                     std::min(1.0, bounds.gradient / LengthOf(gradient)) / bounds.gradient);
  }
  for (std::size_t i = 0; i < p; ++i) {
    for (std::size_t j = i; j < p; ++j) {
      vector.push_back(std::sqrt(bounds.hessian_share) * (i == j ? 1 : std::sqrt(2.0)) *
                       hessian[i][j] * std::min(1.0, bounds.hessian / frobenius) / bounds.hessian);
    }
  }
  return vector;
}

TEST(NewtonPatientsTest, APatientsVectorIsThatOfAPlainLoopOverItsRows) {
  for (const NewtonKind kind : kKinds) {
    const Table table = Draw(kind, 40, 5);
    for (const NewtonBounds& bounds : {kWide, kTight}) {
      const std::vector<Vector> vectors = VectorsOf(kind, table, bounds);
      ASSERT_EQ(vectors.size(), table.patients.size());
      for (std::size_t i = 0; i < vectors.size(); ++i) {
        EXPECT_THAT(vectors[i], Pointwise(DoubleNear(1e-14),
                                          PlainVector(kind, table, table.patients[i], bounds)));
      }
    }
  }
}

TEST(NewtonPatientsTest, NoVectorIsLongerThanOneAndACutOneIsAsLongAsItMay) {
  constexpr NewtonBounds kTiny{.gradient = 1e-3, .hessian = 1e-3, .hessian_share = 0.3};
  for (const NewtonKind kind : kKinds) {
    for (const Vector& vector : VectorsOf(kind, Draw(kind, 40, 5), kTight)) {
      EXPECT_LE(LengthOf(vector), 1 + 1e-14);
    }
    for (const Vector& vector : VectorsOf(kind, Draw(kind, 40, 5), kTiny)) {
      EXPECT_NEAR(LengthOf(std::span(vector).first(6)), std::sqrt(0.7), 1e-14);
      EXPECT_NEAR(LengthOf(std::span(vector).subspan(6)), std::sqrt(0.3), 1e-14);
    }
  }
}

TEST(NewtonPatientsTest, WithoutCuttingTheSumSaysTheGradientAndHessianOfAllRows) {
  for (const NewtonKind kind : kKinds) {
    const Table table = Draw(kind, 700, 4);
    Vector sum(NewtonVectorSize(5));
    for (const Vector& vector : VectorsOf(kind, table, kWide)) {
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += vector[i];
    }
    const NewtonEstimate estimate = NewtonEstimateOf(kWide, sum, 5);
    const Vector exact = NewtonSums(kind, table.examples, table.coefficients).value();
    Vector told = estimate.gradient;
    told.insert(told.end(), estimate.hessian.begin(), estimate.hessian.end());
    EXPECT_THAT(told, Pointwise(DoubleNear(1e-6), Vector(exact.begin() + 2, exact.end())));
  }
}

TEST(NewtonPatientsTest, APatientWithManyRowsCountsAsOne) {
  for (const NewtonKind kind : kKinds) {
    Table table = Draw(kind, 1, 3, 1);
    table.patients = {{}};
    for (int copy = 0; copy < 1000; ++copy) {
      table.patients[0].push_back(table.examples.targets.size());
      table.examples.targets.push_back(1);
      for (const double input : {0.5, -0.5, 1.0}) table.examples.inputs.push_back(input);
    }
    const std::vector<Vector> vectors = VectorsOf(kind, table, kTight);
    EXPECT_NEAR(LengthOf(vectors[0]), 1, 1e-12);
    Table one = table;
    one.patients[0].resize(1);
    const Vector cut = PlainVector(kind, one, one.patients[0], kTight);
    // A thousand rows that say the same point where one of them does.
    for (std::size_t i = 0; i < cut.size(); ++i) EXPECT_GE(vectors[0][i] * cut[i], 0);
  }
}

TEST(NewtonPatientsTest, WhatARowHoldsMovesASumByAtMostTheSensitivity) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double hostile[] = {1e30,   -1e30, 1e200, -1e200, std::nan(""), kInfinity, -kInfinity,
                            1e-300, 0,     1,     -1,     1e8,          5e153};
  for (const NewtonKind kind : kKinds) {
    const privacy::Grid grid =
        privacy::Grid::Create(
            {.max_grad_norm = 1, .num_parameters = NewtonVectorSize(4), .grid_inflation = 1.001})
            .value();
    const auto sum_of = [&](const Table& table) {
      privacy::PatientSum sum(grid);
      EXPECT_TRUE(ForEachNewtonPatient(kind, table.examples, table.coefficients, kTight,
                                       table.patients,
                                       [&](std::span<const double> vector) { sum.Add(vector); })
                      .ok());
      return std::vector<std::int64_t>(sum.sum().begin(), sum.sum().end());
    };
    const Table without = Draw(kind, 30, 3);
    const std::vector<std::int64_t> before = sum_of(without);
    SeededRandom random(5);
    for (int trial = 0; trial < 300; ++trial) {
      Table with = without;
      // A patient more, in the middle, with a row or several.
      std::vector<std::size_t> rows;
      for (int row = 0; row < 1 + trial % 4; ++row) {
        rows.push_back(with.examples.targets.size());
        const auto any = [&] { return hostile[random.NextBelow(std::size(hostile))]; };
        for (int i = 0; i < 3; ++i) {
          with.examples.inputs.push_back(trial % 2 == 0 ? any() : 2 * random.NextDouble() - 1);
        }
        with.examples.targets.push_back(any());
      }
      with.patients.insert(with.patients.begin() + trial % 30, rows);
      const std::vector<std::int64_t> after = sum_of(with);
      double squares = 0;  // Whole numbers below 2^53: exact.
      for (std::size_t i = 0; i < after.size(); ++i) {
        const auto moved = static_cast<double>(after[i] - before[i]);
        squares += moved * moved;
      }
      const double bound = grid.Sensitivity(privacy::GridEncoding::kVerified);
      EXPECT_LE(squares, bound * bound) << "trial " << trial;
    }
  }
}

TEST(NewtonPatientsTest, RefusesWhatItCannotBound) {
  Table table = Draw(NewtonKind::kLogistic, 5, 3);
  const auto message_of = [&](NewtonKind kind) {
    const Status status = ForEachNewtonPatient(kind, table.examples, table.coefficients, kTight,
                                               table.patients, [](std::span<const double>) {});
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return MessageOf(status);
  };
  EXPECT_THAT(message_of(NewtonKind::kPoisson), HasSubstr("logistic and linear"));
  EXPECT_THAT(message_of(NewtonKind::kCoxEfron), HasSubstr("logistic and linear"));
  table.coefficients.pop_back();
  EXPECT_THAT(message_of(NewtonKind::kLogistic), HasSubstr("coefficients"));
}

TEST(NewtonPatientsTest, StopsWhenItIsCancelled) {
  const Table table = Draw(NewtonKind::kLogistic, 5, 3);
  const std::atomic<bool> cancelled = true;
  const Status status = ForEachNewtonPatient(
      NewtonKind::kLogistic, table.examples, table.coefficients, kTight, table.patients,
      [](std::span<const double>) { FAIL(); }, &cancelled);
  EXPECT_EQ(status.code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace chorale::training
