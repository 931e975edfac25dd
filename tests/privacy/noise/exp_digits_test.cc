#include "privacy/noise/exp_digits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace chorale::privacy {
namespace {

constexpr std::uint64_t kOne = std::uint64_t{1} << 63;  // The denominator of whole exponents.

ScaledExp WholeExponent(std::uint64_t exponent) {
  return {.exponent = static_cast<Uint128>(exponent) * kOne, .denominator = kOne};
}

TEST(ExpDigitsTest, GivesTheDigitsThatArbitraryPrecisionGives) {
  // From Python's decimal at 400 digits.
  const std::vector<std::uint64_t> of_one = {0x5e2d58d8b3bcdf1a, 0xbadec7829054f90d,
                                             0xda9805aab56c7733, 0x3024b9d0a507daed,
                                             0xb16400bf472b4215, 0xb8245b669d90d27a};
  const std::vector<std::uint64_t> of_third = {0x836f4de77396f0ac, 0x79d37a311faf9877,
                                               0x15e408ea1883532d, 0x0ff18def4aff4037,
                                               0x7fb2f8482d992edd, 0x1a0b0028a1af53e8};
  const std::vector<std::uint64_t> of_hundred = {0x0000000000000000, 0x0000000000000000,
                                                 0x0000d460f8a7157a, 0xe579eec89bae3a7e,
                                                 0x5ae6c05cbc460024, 0xfffd539a3832c4e5};
  const ScaledExp third = {.exponent = kOne, .denominator = 13835058055282163713u};

  EXPECT_EQ(DigitsOf(WholeExponent(1), 6), of_one);
  EXPECT_EQ(DigitsOf(third, 6), of_third);
  EXPECT_EQ(DigitsOf(WholeExponent(100), 6), of_hundred);
}

TEST(ExpDigitsTest, ScalesAndDividesExactly) {
  ScaledExp number = WholeExponent(2);
  number.scale = 1'234'567'890'123;
  number.divisor = 987'654'321'987;
  const std::vector<std::uint64_t> expected = {0x2b4eaa9218768285, 0xa8fc3a8a8c821495,
                                               0xc94357c331f5faca, 0xb6aebf2953ab67b8};

  EXPECT_EQ(DigitsOf(number, 4), expected);
}

TEST(ExpDigitsTest, ARationalHasItsOwnDigits) {
  const ScaledExp third = {.scale = 1, .divisor = 3};
  const ScaledExp half = {.scale = 1, .divisor = 2};

  EXPECT_EQ(DigitsOf(third, 3), std::vector<std::uint64_t>(3, 0x5555555555555555));
  EXPECT_EQ(DigitsOf(half, 3), (std::vector<std::uint64_t>{kOne, 0, 0}));
}

TEST(ExpDigitsTest, DigitsDoNotDependOnHowManyAreAskedFor) {
  for (std::uint64_t i = 1; i < 200; ++i) {
    const ScaledExp number = {.exponent = static_cast<Uint128>(i) << 60,
                              .denominator = kOne + 77 * i};
    std::vector<std::uint64_t> many = DigitsOf(number, 5);
    many.resize(2);

    EXPECT_EQ(DigitsOf(number, 2), many);
    EXPECT_NEAR(
        std::ldexp(static_cast<double>(many[0]), -64),
        std::exp(-std::ldexp(static_cast<double>(i), 60) / static_cast<double>(number.denominator)),
        1e-15);
  }
}

TEST(ExpDigitsTest, WhatIsTooSmallToBeSeenIsZero) {
  EXPECT_EQ(DigitsOf(WholeExponent(1'000'000'000), 2), std::vector<std::uint64_t>(2, 0));
}

}  // namespace
}  // namespace chorale::privacy
