#include "core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace chorale {
namespace {

// Says the given words, then the last one for ever.
class ScriptedRandom final : public RandomSource {
 public:
  explicit ScriptedRandom(std::vector<std::uint64_t> words) : words_(std::move(words)) {}
  void Fill(std::span<std::uint8_t> bytes) override {
    const std::uint64_t word = words_[std::min(next_++, words_.size() - 1)];
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<std::uint8_t>(word >> (8 * (i % 8)));
  }
  [[nodiscard]] std::size_t num_calls() const { return next_; }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t next_ = 0;
};

TEST(SeededRandomTest, GivesTheSequenceOfTheReferenceAlgorithms) {
  // xoshiro256** on the state that splitmix64 makes of each seed, computed with arbitrary-precision
  // integers.
  SeededRandom zero(0);
  EXPECT_EQ(zero.NextUint64(), 0x99ec5f36cb75f2b4u);
  EXPECT_EQ(zero.NextUint64(), 0xbf6e1f784956452au);
  SeededRandom other(20261120);
  EXPECT_EQ(other.NextUint64(), 0x565d87f425756830u);
  EXPECT_EQ(other.NextUint64(), 0x617131f77011356fu);
}

TEST(SeededRandomTest, FillsAnyNumberOfBytes) {
  for (std::size_t size = 0; size < 20; ++size) {
    SeededRandom random(4);
    SeededRandom longer(4);
    std::vector<std::uint8_t> bytes(size);
    std::vector<std::uint8_t> more(32);

    random.Fill(bytes);
    longer.Fill(more);

    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), more.begin()));
  }
}

TEST(SeededRandomTest, SeedsThatDifferInOneBitHaveNothingInCommon) {
  SeededRandom one(1);
  SeededRandom two(3);
  int num_equal_bits = 0;
  for (int i = 0; i < 100; ++i)
    num_equal_bits += 64 - __builtin_popcountll(one.NextUint64() ^ two.NextUint64());

  // Of 6400 fair bits, within 6 standard deviations (80) of half; both seeds are fixed.
  EXPECT_NEAR(num_equal_bits, 3200, 240);
}

TEST(RandomSourceTest, ReadsWordsLeastSignificantByteFirst) {
  ScriptedRandom random({0x0102030405060708});

  EXPECT_EQ(random.NextUint64(), 0x0102030405060708u);
}

TEST(RandomSourceTest, StaysBelowTheBound) {
  SeededRandom random(5);
  for (const std::uint64_t bound :
       {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{7}, std::uint64_t{1} << 63,
        std::numeric_limits<std::uint64_t>::max()}) {
    for (int i = 0; i < 200; ++i) EXPECT_LT(random.NextBelow(bound), bound);
  }
}

TEST(RandomSourceTest, DrawsAgainRatherThanFavourSmallResults) {
  // 2^64 = 1 (mod 3): the last word belongs to no full run of three.
  ScriptedRandom random({std::numeric_limits<std::uint64_t>::max(), 5});

  EXPECT_EQ(random.NextBelow(3), 2u);
  EXPECT_EQ(random.num_calls(), 2u);
}

TEST(RandomSourceTest, APowerOfTwoNeverDrawsAgain) {
  ScriptedRandom random({std::numeric_limits<std::uint64_t>::max()});

  EXPECT_EQ(random.NextBelow(8), 7u);
  EXPECT_EQ(random.NextBelow(1), 0u);
  EXPECT_EQ(random.num_calls(), 2u);
}

TEST(RandomSourceTest, EveryResultIsAsLikelyAsAnother) {
  // Chi-squared with 9 degrees of freedom exceeds 50 with probability 1e-7; the seed is fixed.
  SeededRandom random(6);
  std::array<int, 10> counts{};
  for (int i = 0; i < 100'000; ++i) ++counts[random.NextBelow(10)];

  double chi_squared = 0;
  for (const int count : counts) chi_squared += std::pow(count - 10'000, 2) / 10'000;

  EXPECT_LT(chi_squared, 50);
}

TEST(RandomSourceTest, ADoubleIsBelowOne) {
  ScriptedRandom largest({std::numeric_limits<std::uint64_t>::max()});
  ScriptedRandom smallest({0});

  EXPECT_EQ(largest.NextDouble(), 1.0 - 0x1.0p-53);
  EXPECT_EQ(smallest.NextDouble(), 0.0);
}

}  // namespace
}  // namespace chorale
