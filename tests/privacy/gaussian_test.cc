#include "privacy/gaussian.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

// Computed with 40 digits.
TEST(GaussianTest, GivesTheExactEpsilon) {
  EXPECT_NEAR(GaussianEpsilon(1, 1e-5), 4.37717809568122, 1e-12);
  EXPECT_NEAR(GaussianEpsilon(1, 1e-6), 4.88655411746221, 1e-12);
  EXPECT_NEAR(GaussianEpsilon(0.5, 1e-5), 1.99309140441512, 1e-12);
  EXPECT_NEAR(GaussianEpsilon(2, 1e-5), 9.9972561464343, 1e-12);
  EXPECT_NEAR(GaussianEpsilon(0.1, 1e-5), 0.340669364684326, 1e-12);
}

TEST(GaussianTest, GivesTheExactDelta) {
  EXPECT_NEAR(GaussianDelta(1, 0), 0.382924922548026, 1e-14);
  EXPECT_NEAR(GaussianDelta(1, 0.5), 0.238421708134877, 1e-14);
  EXPECT_NEAR(GaussianDelta(1, 1), 0.126936737506644, 1e-14);
  EXPECT_NEAR(GaussianDelta(1, 2), 0.0209236358211137, 1e-15);
  EXPECT_NEAR(GaussianDelta(1, 3), 0.00153718536940095, 1e-16);
  EXPECT_NEAR(GaussianDelta(1, 4), 4.71224120079312e-5, 1e-18);
  EXPECT_NEAR(GaussianDelta(1, 5), 5.79372169191949e-7, 1e-19);
}

TEST(GaussianTest, GivesTheLeastStandardDeviation) {
  const std::vector<std::pair<double, double>> values = {
      {0.1, 30.749566131977}, {0.5, 7.0318266755825}, {1, 3.7306316348159}, {2, 1.9938124456435},
      {3, 1.3905934566745},   {5, .89186826495152},   {8, .60022907219895}, {10, .49988861970901},
      {20, .2900414180328},   {50, .14976060756084}};
  for (const auto& [epsilon, deviation] : values) {
    EXPECT_NEAR(1 / GaussianMu(epsilon, 1e-5) / deviation, 1, 1e-12) << epsilon;
  }
  EXPECT_NEAR(1 / GaussianMu(1, 1e-6), 4.2246788893268, 1e-11);
  // Published: std 1/3 for (1, .78760074); sqrt(2) for (2.25, .00040834087).
  EXPECT_NEAR(1 / GaussianMu(1, 0.78760074), 1.0 / 3, 1e-7);
  EXPECT_NEAR(1 / GaussianMu(2.25, 0.00040834087), std::sqrt(2), 1e-7);
}

TEST(GaussianTest, ShowsThatTheClassicalNoiseIsTooLittle) {
  const auto classical = [](double epsilon) {
    return std::sqrt(2 * std::log(1.25 / 1e-5)) / epsilon;
  };
  EXPECT_NEAR(GaussianDelta(1 / classical(10), 10), 2.27e-5, 1e-7);
  EXPECT_NEAR(GaussianDelta(1 / classical(50), 50), 0.586, 1e-3);
}

TEST(GaussianTest, InvertsItselfFromAbove) {
  for (const double mu : {1e-3, 0.05, 0.7, 3.0, 40.0, 1e3}) {
    for (const double delta : {0.4, 1e-3, 1e-6, 1e-10, 1e-60}) {
      const double epsilon = GaussianEpsilon(mu, delta);
      EXPECT_LE(GaussianDelta(mu, epsilon), delta) << mu << ' ' << delta;
      if (epsilon > 0) {
        EXPECT_GT(GaussianDelta(mu, epsilon * (1 - 1e-9)), delta) << mu << ' ' << delta;
        EXPECT_NEAR(GaussianMu(epsilon, delta) / mu, 1, 1e-9) << mu << ' ' << delta;
      }
    }
  }
}

TEST(GaussianTest, HasNoCostWithoutSensitivityAndNoBoundWithoutNoise) {
  EXPECT_EQ(GaussianEpsilon(0, 1e-5), 0);
  EXPECT_EQ(GaussianDelta(0, 0), 0);
  EXPECT_EQ(GaussianEpsilon(kInfinity, 1e-5), kInfinity);
  EXPECT_EQ(GaussianDelta(kInfinity, 1e3), 1);
}

}  // namespace
}  // namespace chorale::privacy
