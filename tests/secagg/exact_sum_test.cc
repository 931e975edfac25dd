#include "secagg/exact_sum.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/random.h"
#include "secagg/refusal.h"
#include "secagg/vector_spec.h"

namespace chorale::secagg {
namespace {

Bytes Encoded(const std::vector<double>& values) {
  Bytes bytes(values.size() * kExactSumBytes);
  EXPECT_TRUE(EncodeExact(values, bytes).ok());
  return bytes;
}

// The sum of single numbers, in the order given.
double SumOf(const std::vector<double>& values) {
  const VectorSpec spec = *VectorSpec::Create({{RingBits::k64, kExactSumLimbs}});
  Bytes sum(kExactSumBytes);
  for (const double value : values) {
    EXPECT_TRUE(AddVectors(spec, 0, Encoded({value}), sum, 1).ok());
  }
  double decoded = 0;
  DecodeExact(sum, {&decoded, 1});
  return decoded;
}

TEST(ExactSumTest, GivesBackEveryMultipleOfItsResolution) {
  for (const double value :
       {0.0, 1.0, -1.0, 0x1p-62, -0x1p-62, 0x1p-9, 1e18, -1e18, 0x1.fffffffffffffp61,
        -0x1.fffffffffffffp61, 3.141592653589793, -0.1, 1e-9}) {
    const double rounded = std::abs(value) < 0x1p-9 ? std::round(value * 0x1p62) * 0x1p-62 : value;
    EXPECT_EQ(SumOf({value}), rounded) << value;
  }
}

TEST(ExactSumTest, RoundsOnceToTheNearestMultiple) {
  EXPECT_EQ(SumOf({0x1p-63}), 0x1p-62);
  EXPECT_EQ(SumOf({-0x1p-63}), -0x1p-62);
  EXPECT_EQ(SumOf({0x1.fffffffffffffp-64}), 0);
  EXPECT_EQ(SumOf({0x1.8p-61 + 0x1p-90}), 0x1.8p-61);
  EXPECT_EQ(SumOf({5e-324}), 0);
}

TEST(ExactSumTest, LosesNothingWhereDoublesWould) {
  EXPECT_EQ(SumOf({1e18, 1e-15, -1e18}), std::round(1e-15 * 0x1p62) * 0x1p-62);
  EXPECT_EQ(SumOf({0x1p61, 0x1p-62, -0x1p61}), 0x1p-62);
  EXPECT_EQ(SumOf({0x1.fffffffffffffp61, 0x1.fffffffffffffp61, -0x1.fffffffffffffp61}),
            0x1.fffffffffffffp61);
}

// With the seed 5; a sum in another order would differ in most trials if it were rounded on the
// way.
TEST(ExactSumTest, DoesNotDependOnTheOrder) {
  SeededRandom random(5);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<double> values(20);
    for (double& value : values) {
      value = std::ldexp(random.NextDouble() - 0.5, static_cast<int>(random.NextBelow(100)) - 50);
    }
    const double forwards = SumOf(values);
    std::reverse(values.begin(), values.end());

    EXPECT_EQ(SumOf(values), forwards);
  }
}

// Multiples of 2^-40 below 2^20: their sums are exact in 128-bit integers, which GCC rounds to the
// nearest double. Seed 6.
TEST(ExactSumTest, IsTheDoubleNearestToTheSum) {
  SeededRandom random(6);
  __extension__ typedef __int128 Int128;
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<double> values(100);
    Int128 exact = 0;
    for (double& value : values) {
      // 53 bits of every magnitude.
      value = (random.NextDouble() - 0.5) * std::ldexp(1, static_cast<int>(random.NextBelow(60)));
      value = std::round(value * 0x1p60) * 0x1p-60;
      exact += static_cast<Int128>(value * 0x1p60);
    }
    EXPECT_EQ(SumOf(values), std::ldexp(static_cast<double>(exact), -60));
  }
}

TEST(ExactSumTest, BreaksTiesTowardsEven) {
  // 2^60 + 2^7 lies half way between two doubles; the smallest addend decides.
  EXPECT_EQ(SumOf({0x1p60, 0x1p7}), 0x1p60);
  EXPECT_EQ(SumOf({0x1p60, 0x1p7, 0x1p-62}), 0x1p60 + 0x1p8);
  EXPECT_EQ(SumOf({0x1p60, 0x1p8, 0x1p7}), 0x1p60 + 0x1p9);
  EXPECT_EQ(SumOf({-0x1p60, -0x1p7, -0x1p-62}), -0x1p60 - 0x1p8);
  EXPECT_EQ(SumOf({-0x1p60, -0x1p7}), -0x1p60);
}

TEST(ExactSumTest, HoldsTheLargestSumOfAMillionSites) {
  // What the ring holds after 2^20 equal addends: each limb times 2^20.
  for (const double value : {0x1.fffffffffffffp61, -0x1.fffffffffffffp61, -0x1p-62, 0x1.5p-3}) {
    const VectorSpec spec = *VectorSpec::Create({{RingBits::k64, kExactSumLimbs}});
    Bytes sum = Encoded({value});
    for (int i = 0; i < 20; ++i) {
      const Bytes half = sum;
      ASSERT_TRUE(AddVectors(spec, 0, half, sum, 1).ok());
    }
    double decoded = 0;
    DecodeExact(sum, {&decoded, 1});
    EXPECT_EQ(decoded, value * kExactSumMaxSites);
  }
}

TEST(ExactSumTest, RefusesWhatItCannotHoldAndNamesThePlaceAlone) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double bad : {kNan, kInfinity, -kInfinity, 0x1p62, -0x1p62, 1e300}) {
    Bytes out(3 * kExactSumBytes, 9);

    const Status status = EncodeExact(std::vector<double>{1, bad, bad}, out);

    EXPECT_EQ(RefusalOf(status), RefusalCode::kValueOutOfRange) << bad;
    EXPECT_EQ(MessageOf(status),
              "VALUE_OUT_OF_RANGE: value 1 is not a number of magnitude below 2^62");
    EXPECT_EQ(out, Bytes(3 * kExactSumBytes, 9));
  }
  Bytes small(kExactSumBytes);
  EXPECT_EQ(EncodeExact(std::vector<double>{1, 2}, small).code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::secagg
