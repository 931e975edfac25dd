#include "privacy/log_math.h"

#include <gtest/gtest.h>

#include <cmath>

namespace chorale::privacy {
namespace {

TEST(LogMathTest, AddsNumbersThatOverflow) {
  EXPECT_DOUBLE_EQ(LogAdd(1e6, 1e6), 1e6 + std::log(2));
  EXPECT_DOUBLE_EQ(LogAdd(-1e6, 3), 3);
  EXPECT_DOUBLE_EQ(LogAdd(-kInfinity, -7), -7);
  EXPECT_EQ(LogAdd(-kInfinity, -kInfinity), -kInfinity);
  EXPECT_EQ(LogAdd(kInfinity, 0), kInfinity);
}

TEST(LogMathTest, KeepsTheDigitsOfSmallExponents) {
  EXPECT_DOUBLE_EQ(LogExpm1(1e-12), std::log(1e-12) + 5e-13);
  EXPECT_DOUBLE_EQ(LogExpm1(1000), 1000);
  EXPECT_EQ(LogExpm1(0), -kInfinity);
}

TEST(LogMathTest, ContinuesErfcWhereItUnderflows) {
  // Both sides of the change to the asymptotic series, and far beyond (40 digits: mpmath).
  EXPECT_NEAR(LogErfc(24.999999), -628.791989134136430, 1e-10);
  EXPECT_NEAR(LogErfc(25.000001) - LogErfc(24.999999), -1.000798725e-4, 1e-11);
  EXPECT_NEAR(LogErfc(30), -903.974117110643878, 1e-11);
  EXPECT_NEAR(LogErfc(1000), -1000007.48012072190621, 1e-9);
  EXPECT_DOUBLE_EQ(LogErfc(-5), std::log(std::erfc(-5)));
}

TEST(LogMathTest, KnowsTheNormalDistributionInBothTails) {
  EXPECT_DOUBLE_EQ(LogNormalCdf(0), -std::log(2));
  EXPECT_NEAR(LogNormalCdf(-40), -804.608442013753788, 1e-10);
  EXPECT_NEAR(LogNormalCdf(9) / -1.128588405953840648e-19, 1, 1e-12);
}

TEST(LogMathTest, KnowsBinomialCoefficients) {
  EXPECT_NEAR(LogBinomial(10, 3), std::log(120), 1e-13);
  EXPECT_NEAR(LogBinomial(1e9, 1), std::log(1e9), 1e-5);
  EXPECT_NEAR(LogBinomial(5, 5), 0, 1e-14);
}

}  // namespace
}  // namespace chorale::privacy
