#include "training/patient_sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace chorale::training {
namespace {

// Says what it was told to, over and over.
class ScriptedRandom final : public RandomSource {
 public:
  explicit ScriptedRandom(std::vector<std::uint64_t> words) : words_(std::move(words)) {}
  void Fill(std::span<std::uint8_t> bytes) override {
    for (std::uint8_t& byte : bytes) {
      byte = static_cast<std::uint8_t>(words_[next_ / 8 % words_.size()] >> (8 * (next_ % 8)));
      ++next_;
    }
  }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t next_ = 0;
};

PatientSampler MakeSampler(std::uint64_t num_patients, double sample_rate) {
  return PatientSampler::Create(num_patients, sample_rate).value();
}

TEST(PatientSamplerTest, RefusesRatesThatAreNone) {
  for (const double rate : {0.0, -0.1, 1.0000001, std::nan(""), 1e-20}) {
    EXPECT_EQ(PatientSampler::Create(10, rate).status().code(), StatusCode::kInvalidArgument)
        << rate;
  }
  EXPECT_FALSE(PatientSampler::Create((std::uint64_t{1} << 32) + 1, 0.5).ok());
}

TEST(PatientSamplerTest, DrawsAPatientWhoseBitsLieBelowTheRateAndNoneAtIt) {
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 63;
  ScriptedRandom random({kHalf - 1, kHalf, 0, ~std::uint64_t{0}});
  EXPECT_THAT(MakeSampler(6, 0.5).Sample(random), testing::ElementsAre(0, 2, 4));
}

TEST(PatientSamplerTest, NeverDrawsWithMoreThanTheRate) {
  // 0.1 as a double is 0x1999999999999a00 / 2^64 exactly.
  ScriptedRandom at({0x1999999999999a00}), below({0x19999999999999ff});
  EXPECT_TRUE(MakeSampler(3, 0.1).Sample(at).empty());
  EXPECT_EQ(MakeSampler(3, 0.1).Sample(below).size(), 3u);
  // The least rate takes one draw of 2^64.
  ScriptedRandom zero({0, 1});
  EXPECT_THAT(MakeSampler(4, 0x1p-64).Sample(zero), testing::ElementsAre(0, 2));
}

TEST(PatientSamplerTest, ARateOfOneDrawsEverybodyAndNobodyIsDrawnFromNobody) {
  SeededRandom random(1);
  EXPECT_EQ(MakeSampler(1000, 1).Sample(random).size(), 1000u);
  EXPECT_TRUE(MakeSampler(0, 0.5).Sample(random).empty());
}

// Whom 40000 steps drew of 60 patients at a rate of 0.05, more than one call of the source each.
class PatientSamplerStatisticsTest : public testing::Test {
 protected:
  static constexpr std::size_t kPatients = 600, kWatched = 60, kSteps = 40000;
  static constexpr double kRate = 0.05;

  PatientSamplerStatisticsTest()
      : counts_(kPatients), pairs_(kWatched * kWatched), previous_(kPatients) {
    SeededRandom random(20261126);
    const PatientSampler sampler = MakeSampler(kPatients, kRate);
    std::vector<std::uint32_t> last;
    for (std::size_t step = 0; step < kSteps; ++step) {
      const std::vector<std::uint32_t> drawn = sampler.Sample(random);
      EXPECT_TRUE(std::is_sorted(drawn.begin(), drawn.end()));
      sizes_.push_back(static_cast<double>(drawn.size()));
      for (const std::uint32_t i : drawn) {
        ++counts_[i];
        if (std::binary_search(last.begin(), last.end(), i)) ++previous_[i];
        if (i >= kWatched) continue;
        for (const std::uint32_t j : drawn) {
          if (j < i) ++pairs_[i * kWatched + j];
        }
      }
      last = drawn;
    }
  }
  // Of counts that are binomial in `trials` with probability p: the sum of squared standard scores.
  static double ChiSquare(const std::vector<double>& counts, double trials, double p) {
    double sum = 0;
    for (const double count : counts) {
      sum += (count - trials * p) * (count - trials * p) / (trials * p * (1 - p));
    }
    return sum;
  }
  // A chi-square of n degrees beyond n +- 6 sqrt(2n): the tail of Wilson and Hilferty's
  // approximation is below 1e-7 for the n here.
  static void ExpectChiSquare(double value, double degrees) {
    EXPECT_NEAR(value, degrees, 6 * std::sqrt(2 * degrees));
  }

  std::vector<double> counts_, pairs_, previous_, sizes_;
};

// Fails by luck with a probability below 1e-7.
TEST_F(PatientSamplerStatisticsTest, EveryPatientIsDrawnAtTheRate) {
  ExpectChiSquare(ChiSquare(counts_, kSteps, kRate), kPatients);
}

// Below 1e-7.
TEST_F(PatientSamplerStatisticsTest, PatientsAreDrawnIndependentlyOfEachOther) {
  std::vector<double> pairs;
  for (std::size_t i = 0; i < kWatched; ++i) {
    for (std::size_t j = 0; j < i; ++j) pairs.push_back(pairs_[i * kWatched + j]);
  }
  // Counts of pairs that share a patient are dependent: their chi-square has the mean of one of
  // independent counts and, at this rate, 1.3 times its spread at most.
  const auto degrees = static_cast<double>(pairs.size());
  EXPECT_NEAR(ChiSquare(pairs, kSteps, kRate * kRate), degrees, 8 * std::sqrt(2 * degrees));
}

// Below 1e-7.
TEST_F(PatientSamplerStatisticsTest, StepsAreDrawnIndependentlyOfEachOther) {
  ExpectChiSquare(ChiSquare(previous_, kSteps - 1, kRate * kRate), kPatients);
}

// The number drawn is binomial: a shuffled pass would have no variance. Six standard errors, below
// 1e-8.
TEST_F(PatientSamplerStatisticsTest, TheNumberDrawnHasTheVarianceOfPoissonSampling) {
  const double mean = std::accumulate(sizes_.begin(), sizes_.end(), 0.0) / kSteps;
  double square = 0;
  for (const double size : sizes_) square += (size - mean) * (size - mean);
  const double variance = kPatients * kRate * (1 - kRate);
  EXPECT_NEAR(mean, kPatients * kRate, 6 * std::sqrt(variance / kSteps));
  EXPECT_NEAR(square / kSteps, variance, 6 * variance * std::sqrt(2.0 / kSteps) * 1.02);
}

}  // namespace
}  // namespace chorale::training
