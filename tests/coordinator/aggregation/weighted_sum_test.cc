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
  std::vector<float> base;
};

Problem Make(std::size_t num_sites, std::size_t size) {
  SeededRandom random(num_sites * 1000 + size);
  Problem problem;
  for (std::size_t k = 0; k < num_sites; ++k) {
    problem.vectors.push_back(Draw(random, size));
    problem.weights.push_back(random.NextDouble());
  }
  for (const auto& vector : problem.vectors) problem.updates.emplace_back(vector);
  problem.base = Draw(random, size);
  return problem;
}

// The definition, coordinate by coordinate.
std::vector<float> Naive(const Problem& problem, bool with_base) {
  std::vector<float> sum(problem.base.size());
  for (std::size_t i = 0; i < sum.size(); ++i) {
    double total = with_base ? static_cast<double>(problem.base[i]) : 0.0;
    for (std::size_t k = 0; k < problem.updates.size(); ++k) {
      const volatile double term = problem.weights[k] * static_cast<double>(problem.updates[k][i]);
      total += term;
    }
    sum[i] = static_cast<float>(total);
  }
  return sum;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(WeightedSumTest, AgreesBitForBitWithItsDefinition) {
  for (const std::size_t num_sites : {1, 2, 3, 4, 5, 8, 11}) {
    for (const std::size_t size : {1, 7, 2047, 2048, 2049, 100'000}) {
      const Problem problem = Make(num_sites, size);
      std::vector<float> sum(size);
      std::vector<float> next(size);

      WeightedSum(problem.updates, problem.weights, sum, 2);
      AddWeightedSum(problem.base, problem.updates, problem.weights, next, 2);

      EXPECT_TRUE(SameBits(sum, Naive(problem, false))) << num_sites << " sites, " << size;
      EXPECT_TRUE(SameBits(next, Naive(problem, true))) << num_sites << " sites, " << size;
    }
  }
}

TEST(WeightedSumTest, GivesTheSameBitsForAnyNumberOfThreads) {
  const Problem problem = Make(5, 300'001);
  std::vector<float> alone(problem.base.size());
  WeightedSum(problem.updates, problem.weights, alone, 1);

  for (const int num_threads : {2, 3, 7}) {
    std::vector<float> together(problem.base.size());
    WeightedSum(problem.updates, problem.weights, together, num_threads);

    EXPECT_TRUE(SameBits(alone, together)) << num_threads;
  }
}

TEST(WeightedSumTest, MayWriteOverItsBase) {
  const Problem problem = Make(3, 5000);
  std::vector<float> in_place = problem.base;

  AddWeightedSum(in_place, problem.updates, problem.weights, in_place, 2);

  EXPECT_TRUE(SameBits(in_place, Naive(problem, true)));
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
