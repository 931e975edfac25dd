#include "coordinator/aggregation/weighted_sum.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "core/random.h"

namespace chorale::coordinator {
namespace {

std::vector<float> Draw(SeededRandom& random, std::size_t size) {
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(random.NextDouble() * 2 - 1);
  return values;
}

struct Problem {
  std::vector<std::vector<float>> vectors;
  std::vector<std::span<const float>> updates;
  std::vector<double> weights;
};

Problem Make(std::size_t num_sites, std::size_t size) {
  SeededRandom random(num_sites * 1000 + size);
  Problem problem;
  for (std::size_t k = 0; k < num_sites; ++k) {
    problem.vectors.push_back(Draw(random, size));
    problem.weights.push_back(random.NextDouble());
  }
  for (const auto& vector : problem.vectors) problem.updates.emplace_back(vector);
  return problem;
}

// The definition, coordinate by coordinate.
std::vector<double> Naive(const Problem& problem) {
  std::vector<double> sum(problem.vectors.front().size());
  for (std::size_t i = 0; i < sum.size(); ++i) {
    for (std::size_t k = 0; k < problem.updates.size(); ++k) {
      const volatile double term = problem.weights[k] * static_cast<double>(problem.updates[k][i]);
      sum[i] += term;
    }
  }
  return sum;
}

std::vector<float> Rounded(const std::vector<double>& values) {
  std::vector<float> rounded;
  for (const double value : values) rounded.push_back(static_cast<float>(value));
  return rounded;
}

template <typename Number>
bool SameBits(const std::vector<Number>& a, const std::vector<Number>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(Number)) == 0;
}

TEST(WeightedSumTest, AgreesBitForBitWithItsDefinition) {
  for (const std::size_t num_sites : {1, 2, 3, 4, 5, 8, 11}) {
    for (const std::size_t size : {1, 7, 2047, 2048, 2049, 100'000}) {
      const Problem problem = Make(num_sites, size);
      std::vector<float> sum(size);
      std::vector<double> exact_sum(size);

      WeightedSum(problem.updates, problem.weights, sum, 2);
      WeightedSum(problem.updates, problem.weights, exact_sum, 2);

      EXPECT_TRUE(SameBits(exact_sum, Naive(problem))) << num_sites << " sites, " << size;
      EXPECT_TRUE(SameBits(sum, Rounded(Naive(problem)))) << num_sites << " sites, " << size;
    }
  }
}

TEST(WeightedSumTest, GivesTheSameBitsForAnyNumberOfThreads) {
  const Problem problem = Make(5, 300'001);
  std::vector<float> alone(problem.vectors.front().size());
  WeightedSum(problem.updates, problem.weights, alone, 1);

  for (const int num_threads : {2, 3, 7}) {
    std::vector<float> together(alone.size());
    WeightedSum(problem.updates, problem.weights, together, num_threads);

    EXPECT_TRUE(SameBits(alone, together)) << num_threads;
  }
}

TEST(WeightedSumTest, MayWriteOverAnUpdate) {
  Problem problem = Make(3, 5000);
  const std::vector<float> expected = Rounded(Naive(problem));

  WeightedSum(problem.updates, problem.weights, problem.vectors[1], 2);

  EXPECT_TRUE(SameBits(problem.vectors[1], expected));
}

TEST(WeightedSumTest, AddsNothingToAnEmptyVector) {
  std::vector<float> empty;
  const std::vector<std::span<const float>> updates = {std::span<const float>()};
  const std::vector<double> weights = {1.0};

  WeightedSum(updates, weights, empty, 2);

  EXPECT_TRUE(empty.empty());
}

}  // namespace
}  // namespace chorale::coordinator
