#include "privacy/noise/discrete_gaussian.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/random.h"
#include "privacy/noise/exp_digits.h"

namespace chorale::privacy {
namespace {

DiscreteGaussian Gaussian(double variance) { return *DiscreteGaussian::Create(DyadicOf(variance)); }

std::vector<std::int64_t> Draw(const DiscreteGaussian& gaussian, std::uint64_t seed,
                               std::size_t count) {
  SeededRandom random(seed);
  std::vector<std::int64_t> samples(count);
  gaussian.Draw(random, samples);
  return samples;
}

// Bounds that a chi-squared variable exceeds with probability 1e-9 (Wilson and Hilferty 1931; its
// error here is on the safe side by less than a tenth).
double ChiSquaredBound(double degrees) {
  const double a = 2 / (9 * degrees);
  return degrees * std::pow(1 - a + 5.998 * std::sqrt(a), 3);
}

// Cells [bounds[i], bounds[i + 1]) and the two ends against exact probabilities, cells of fewer
// than 20 expected samples joined.
void ExpectFits(const DiscreteGaussian& gaussian, std::uint64_t seed, std::size_t count,
                std::int64_t cell) {
  const double variance = ToDouble(gaussian.variance());
  const double sigma = std::sqrt(variance);
  std::map<std::int64_t, double> expected;  // By the floor of x / cell.
  double total = 0;
  for (auto x = static_cast<std::int64_t>(-12 * sigma) - 2;
       static_cast<double>(x) <= 12 * sigma + 2; ++x) {
    const double mass = std::exp(-static_cast<double>(x) * static_cast<double>(x) / (2 * variance));
    const auto key =
        static_cast<std::int64_t>(std::floor(static_cast<double>(x) / static_cast<double>(cell)));
    expected[key] += mass;
    total += mass;
  }
  std::map<std::int64_t, double> counts;
  for (const std::int64_t x : Draw(gaussian, seed, count)) {
    counts[static_cast<std::int64_t>(
        std::floor(static_cast<double>(x) / static_cast<double>(cell)))] += 1;
  }
  double chi_squared = 0;
  double rare_expected = 0;
  double rare_count = static_cast<double>(count);
  int cells = 0;
  for (const auto& [key, mass] : expected) {
    const double mean = mass / total * static_cast<double>(count);
    if (mean < 20) {
      rare_expected += mean;
      continue;
    }
    rare_count -= counts[key];
    chi_squared += (counts[key] - mean) * (counts[key] - mean) / mean;
    ++cells;
  }
  chi_squared +=
      (rare_count - rare_expected) * (rare_count - rare_expected) / std::max(rare_expected, 20.0);
  EXPECT_LT(chi_squared, ChiSquaredBound(cells)) << "sigma " << sigma << ", cells " << cells;
}

TEST(DiscreteGaussianTest, HasTheExactProbabilitiesOfSmallSigmas) {
  // Each fails with probability 1e-9 for a random seed; seeds are fixed.
  for (const double sigma : {0.25, 0.5, 1.0, 3.3, 7.9, 8.0, 10.0}) {
    ExpectFits(Gaussian(sigma * sigma), 100, 1'000'000, 1);
  }
}

TEST(DiscreteGaussianTest, HasTheExactProbabilitiesWithinAndAcrossBlocks) {
  // Blocks are of 2, 2, 4, 8 and 64 numbers. Probability of failure 1e-9 each.
  for (const double sigma : {16.0, 21.7, 32.0, 100.0, 1000.0}) {
    const DiscreteGaussian gaussian = Gaussian(sigma * sigma);
    ExpectFits(gaussian, 101, 1'000'000, 1);
    ExpectFits(gaussian, 102, 1'000'000, static_cast<std::int64_t>(sigma / 5));
  }
}

struct Moments {
  double mean = 0;
  double variance = 0;
  double kurtosis = 0;
  double zeros = 0;
};

Moments MomentsOf(const std::vector<std::int64_t>& samples, double sigma) {
  Moments moments;
  double fourth = 0;
  for (const std::int64_t sample : samples) {
    const double x = static_cast<double>(sample) / sigma;
    moments.mean += x;
    moments.variance += x * x;
    fourth += x * x * x * x;
    moments.zeros += sample == 0 ? 1 : 0;
  }
  const auto count = static_cast<double>(samples.size());
  moments.mean /= count;
  moments.variance /= count;
  moments.kurtosis = fourth / count / (moments.variance * moments.variance);
  moments.zeros /= count;
  return moments;
}

TEST(DiscreteGaussianTest, HasTheMomentsOfAGaussian) {
  // With n samples the mean of x / sigma has standard deviation 1 / sqrt(n), the variance
  // sqrt(2 / n), the kurtosis sqrt(24 / n): 6.2 of each are exceeded once in 1e9.
  constexpr double kCount = 400'000;
  const double unit = 6.2 / std::sqrt(kCount);
  for (const double sigma : {3.3, 64.0, 1024.0, 65'536.0, 0x1.8p28, 0x1p40}) {
    const auto samples = Draw(Gaussian(sigma * sigma), 103, static_cast<std::size_t>(kCount));
    const Moments moments = MomentsOf(samples, sigma);

    EXPECT_NEAR(moments.mean, 0, unit) << sigma;
    EXPECT_NEAR(moments.variance, 1, unit * std::sqrt(2.0)) << sigma;
    EXPECT_NEAR(moments.kurtosis, 3, unit * std::sqrt(24.0)) << sigma;
    const double zeros = 1 / (sigma * std::sqrt(2 * std::numbers::pi));
    // Binomial; where fewer than 20 zeros are expected, at most 60.
    const double bound = std::max(6.2 * std::sqrt(zeros * kCount), 40.0);
    EXPECT_NEAR(moments.zeros * kCount, zeros * kCount, bound) << sigma;
  }
}

TEST(DiscreteGaussianTest, EveryLowBitOfLargeSamplesIsFair) {
  // Of 200,000 fair bits, 6.2 standard deviations (1386): once in 1e9 for each of 36 bits.
  const auto samples = Draw(Gaussian(0x1p80), 104, 200'000);
  for (int bit = 0; bit < 36; ++bit) {
    std::int64_t ones = 0;
    for (const std::int64_t sample : samples) ones += sample >> bit & 1;
    EXPECT_NEAR(static_cast<double>(ones), 100'000, 1386) << bit;
  }
}

TEST(DiscreteGaussianTest, NeighbouringSamplesAreNotCorrelated) {
  const auto samples = Draw(Gaussian(1e6), 105, 400'001);
  double sum = 0;
  for (std::size_t i = 0; i + 1 < samples.size(); ++i) {
    sum += static_cast<double>(samples[i]) * static_cast<double>(samples[i + 1]) / 1e6;
  }

  // Standard deviation 632: 6.2 of them once in 1e9.
  EXPECT_NEAR(sum, 0, 6.2 * std::sqrt(400'000.0));
}

// Words from a list, then those of a seeded source.
class ScriptedWords final : public RandomSource {
 public:
  explicit ScriptedWords(std::vector<std::uint64_t> words, std::uint64_t seed = 9)
      : words_(std::move(words)), random_(seed) {}
  void Fill(std::span<std::uint8_t> bytes) override {
    random_.Fill(bytes);
    for (std::size_t i = 0; i < words_.size() && 8 * i + 8 <= bytes.size(); ++i) {
      for (std::size_t j = 0; j < 8; ++j) {
        bytes[8 * i + j] = static_cast<std::uint8_t>(words_[i] >> (8 * j));
      }
    }
    words_.clear();
  }

 private:
  std::vector<std::uint64_t> words_;
  SeededRandom random_;
};

TEST(DiscreteGaussianTest, RefusesOneSignOfZero) {
  // Column 0 with coin 0 is block 0 of a narrow distribution, kept by a coin of 0; bit 40 is the
  // sign. What is refused is drawn again from the next word.
  const DiscreteGaussian gaussian = Gaussian(0x1p-12);
  const std::uint64_t negative = std::uint64_t{1} << 40;
  ScriptedWords words({negative, negative, 0});
  std::vector<std::int64_t> sample(1, 99);

  gaussian.Draw(words, sample);

  EXPECT_EQ(sample[0], 0);
}

// Sigma 2^20: blocks of 2^17, 8 of them a sigma. The first word of a sample chooses column `block`
// and, with a coin of zero, the block itself.
constexpr int kOffsetBits = 17;
DiscreteGaussian EightBlocks() { return Gaussian(0x1p40); }

// The sample that a first try with these words gives, or one from words of `seed` after them.
std::int64_t DrawScripted(const DiscreteGaussian& gaussian, std::vector<std::uint64_t> words,
                          std::uint64_t seed = 9) {
  ScriptedWords source(std::move(words), seed);
  std::vector<std::int64_t> sample(1);
  gaussian.Draw(source, sample);
  return sample[0];
}

TEST(DiscreteGaussianTest, KeepsOffsetsWithTheProbabilityOfTheirExponent) {
  // Blocks far out, where the exponents within a block are large; 50,000 tries, 6.2 standard
  // deviations: once in 1e9 each.
  constexpr int kTries = 50'000;
  const DiscreteGaussian gaussian = EightBlocks();
  SeededRandom random(110);
  for (const std::uint64_t block : {3u, 20u, 40u, 60u, 70u}) {
    for (const std::uint64_t offset : {1u << 12, 1u << 16, (1u << 17) - 1}) {
      const auto sample = static_cast<std::int64_t>(block << kOffsetBits | offset);
      int num_kept = 0;
      for (int i = 0; i < kTries; ++i) {
        const std::uint64_t coin = random.NextUint64() << 37;
        num_kept +=
            DrawScripted(gaussian, {block, coin | offset}, random.NextUint64()) == sample ? 1 : 0;
      }
      const double start = std::ldexp(static_cast<double>(block), kOffsetBits);
      const double exponent = (std::pow(static_cast<double>(sample), 2) - start * start) / 0x1p41;
      const double share = std::exp(-exponent);
      EXPECT_NEAR(num_kept, kTries * share, 6.2 * std::sqrt(kTries * share * (1 - share)) + 1)
          << "block " << block << ", exponent " << exponent;
    }
  }
}

// The largest word for which `is_kept`, which holds for 0 and no word above some other.
template <typename Predicate>
std::uint64_t LargestKept(Predicate is_kept) {
  std::uint64_t word = 0;
  for (int bit = 63; bit >= 0; --bit) {
    const std::uint64_t higher = word | std::uint64_t{1} << bit;
    if (is_kept(higher)) word = higher;
  }
  return word;
}

TEST(DiscreteGaussianTest, ComparesBlocksWithEveryDigitOfTheirShare) {
  // Block 58 has the least weight, one unit, and keeps constant * exp(-58^2 / 128) of it. Words of
  // zero after the coin keep the first number of the block.
  constexpr std::uint64_t kBlock = 58;
  constexpr auto kSample = static_cast<std::int64_t>(kBlock << kOffsetBits);
  const DiscreteGaussian gaussian = EightBlocks();
  const auto words = [](std::uint64_t first, std::uint64_t second) {
    return std::vector<std::uint64_t>{kBlock | first >> 41 << 41, first << 23, second, 0, 0};
  };
  const std::uint64_t first = LargestKept(
      [&](std::uint64_t word) { return DrawScripted(gaussian, words(word, 0)) == kSample; });
  const std::uint64_t second = LargestKept(
      [&](std::uint64_t word) { return DrawScripted(gaussian, words(first, word)) == kSample; });

  // The constant is a whole number of units of 2^-40, about one over the sum of all blocks.
  double sum = 0;
  for (int q = 0; q < 256; ++q) sum += std::exp(-q * q / 128.0);
  const auto constant = static_cast<std::uint64_t>(
      std::llround(std::ldexp(static_cast<double>(first), -64) * std::exp(58 * 58 / 128.0)));
  EXPECT_NEAR(static_cast<double>(constant), 0x1p40 / sum, 300);
  const ScaledExp share = {.exponent = static_cast<Uint128>(kBlock * kBlock) << 56,
                           .denominator = std::uint64_t{1} << 63,
                           .scale = constant};
  EXPECT_EQ(DigitsOf(share, 2), (std::vector<std::uint64_t>{first, second}));
}

TEST(DiscreteGaussianTest, TheNarrowestIsZeroBesidesTheWidestIsNot) {
  for (const std::int64_t sample : Draw(Gaussian(0x1p-12), 106, 10'000)) EXPECT_EQ(sample, 0);
  for (const std::int64_t sample : Draw(Gaussian(0x1p80), 107, 10'000)) {
    EXPECT_LT(std::abs(static_cast<double>(sample)), 12 * 0x1p40);
  }
}

TEST(DiscreteGaussianTest, RefusesVariancesOutOfBounds) {
  for (const Dyadic& variance :
       {Dyadic{0, 0}, DyadicOf(0x1p-13), DyadicOf(0x1.0000001p80), Dyadic{1, 1'000'000},
        Dyadic{1, -1'000'000}, Dyadic{~std::uint64_t{0}, 80}}) {
    EXPECT_EQ(DiscreteGaussian::Create(variance).status().code(), StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(DiscreteGaussian::Create(DyadicOf(0x1p-12)).ok());
  EXPECT_TRUE(DiscreteGaussian::Create(DyadicOf(0x1p80)).ok());
}

TEST(DiscreteGaussianTest, TheSameVarianceInOtherUnitsGivesTheSameSamples) {
  const DiscreteGaussian one = *DiscreteGaussian::Create({5, 3});
  const DiscreteGaussian two = *DiscreteGaussian::Create({40, 0});

  EXPECT_EQ(Draw(one, 108, 1000), Draw(two, 108, 1000));
}

NoiseStream StreamOfStep(std::uint64_t step) {
  NoiseKey key =
      *NoiseKey::Create(crypto::SecretBytes(Bytes(32, 5)), JobId("job-1"), SiteId("site-a"));
  return *key.Open({step, 0, "gradient"});
}

TEST(DiscreteGaussianTest, ThreadsDoNotChangeTheSamples) {
  const DiscreteGaussian gaussian = Gaussian(1e4);
  std::vector<std::int64_t> one(200'000);
  std::vector<std::int64_t> four(one.size());

  gaussian.Draw(StreamOfStep(1), one, 1);
  gaussian.Draw(StreamOfStep(1), four, 4);

  EXPECT_EQ(one, four);
}

TEST(DiscreteGaussianTest, TwoStepsHaveNothingInCommon) {
  const DiscreteGaussian gaussian = Gaussian(1e4);
  std::vector<std::int64_t> one(200'000);
  std::vector<std::int64_t> two(one.size());
  gaussian.Draw(StreamOfStep(1), one, 2);
  gaussian.Draw(StreamOfStep(2), two, 2);

  double sum = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    sum += static_cast<double>(one[i]) * static_cast<double>(two[i]) / 1e4;
  }
  // Standard deviation 447: 6.2 of them once in 1e9.
  EXPECT_NEAR(sum, 0, 6.2 * std::sqrt(200'000.0));
}

}  // namespace
}  // namespace chorale::privacy
