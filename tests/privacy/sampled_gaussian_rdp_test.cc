#include "privacy/sampled_gaussian_rdp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "privacy/log_math.h"
#include "privacy/monotone_pair.h"
#include "privacy/pair_rdp.h"
#include "tests/privacy/reference_file.h"

namespace chorale::privacy {
namespace {

NormalPair Pair(Direction direction, double rate, double noise) {
  return {
      direction, {{.size = 0, .probability = 1 - rate}, {.size = 1, .probability = rate}}, noise};
}

struct Known {
  double rate;
  double noise;
  double order;
  double rdp;
};

// By quadrature with 40 digits.
TEST(SampledGaussianRdpTest, AgreesWithQuadratureInManyDigits) {
  const std::vector<Known> values = {
      {.2, 1.5, 3.6, 0.0470368472471711},      {.04, 1.5, 3.9, 0.00183320219958386},
      {.01, 2.5, 1.5, 1.30014179437608e-5},    {.01, 2.5, 2.5, 2.17083611383625e-5},
      {.01, 2.5, 5, 4.36151312461576e-5},      {.01, 2.5, 50, 0.000476920750774123},
      {.01, 1, 1.1, 9.24147108468696e-5},      {.01, 1, 2.5, 0.00021757533228188},
      {.01, 1, 7.8, 0.000847566138562662},     {.05, .8, 2.3, 0.0117206449085217},
      {.05, .8, 2.2, 0.0108913758136328},      {.001, .8, 8.6, 5.07860826450976e-5},
      {.2, .8, 1.5, 0.0836300160173837},       {1.0 / 600, 1.3, 18.5, 2.13487087356755e-5},
      {.01, 1, 1.25, 0.00010539800509817623},  {.001, 8, 1.1, 8.6611163826170709e-9},
      {.0001, 3, 1.1, 6.4634777449996368e-10}, {.9, .7, 1.3, 1.1339578868403047},
      {.5, 2, 33.5, 3.473330740440631}};
  for (const Known& k : values) {
    EXPECT_NEAR(SampledGaussianRdp(k.rate, k.noise, k.order) / k.rdp, 1, 1e-10)
        << k.rate << ' ' << k.noise << ' ' << k.order;
  }
}

// Published values (TensorFlow Privacy, by way of autodp's tests).
TEST(SampledGaussianRdpTest, AgreesWithPublishedValues) {
  const std::vector<Known> values = {
      {.01, 1, 2, 0.00017181342207453428}, {.01, 1, 2.25, 0.0001945383384777645},
      {.01, 1, 4, 0.00036315404891075525}, {.01, 1, 4.5, 0.00041492706734509965},
      {.01, 1, 10, 0.03827041889494864},   {.01, 1, 25, 7.70294772682218},
      {.01, 1, 64, 27.32173187455178},     {.01, 1, 128, 59.358568631445074},
      {.1, 1, 1.25, 0.009408440726353454}, {.1, 1, 2, 0.017036863236176647},
      {.1, 1, 4, 0.05867260696008058},     {.1, 1, 10, 2.4428163733756034},
      {.1, 1, 64, 29.66086593727589}};
  for (const Known& k : values) {
    EXPECT_NEAR(SampledGaussianRdp(k.rate, k.noise, k.order) / k.rdp, 1, 1e-8)
        << k.rate << ' ' << k.noise << ' ' << k.order;
  }
}

TEST(SampledGaussianRdpTest, AgreesWithEveryReferenceValue) {
  for (const ReferenceRow& row : ReadReference("rdp_reference.csv")) {
    const double rdp =
        row.at("steps") * SampledGaussianRdp(row.at("q"), row.at("sigma"), row.at("order"));
    EXPECT_NEAR(rdp, row.at("rdp"), 1e-8 * row.at("rdp"))
        << row.at("q") << ' ' << row.at("sigma") << ' ' << row.at("order");
  }
}

TEST(SampledGaussianRdpTest, GivesTheSameBySeriesAndByQuadrature) {
  for (const double rate : {1e-4, 0.01, 0.2, 0.5, 0.93}) {
    for (const double noise : {0.3, 0.7, 1.0, 3.0, 20.0}) {
      for (const double order : {1.1, 1.5, 2.7, 6.3, 10.9, 30.5}) {
        const double by_series = LogMomentBySeries(rate, noise, order);
        const double by_quadrature =
            (order - 1) * PairRdp(Pair(Direction::kRemove, rate, noise), order);
        EXPECT_NEAR(by_series, by_quadrature, 1e-12 + 1e-9 * by_quadrature)
            << rate << ' ' << noise << ' ' << order;
      }
    }
  }
}

TEST(SampledGaussianRdpTest, GivesTheSameForWholeOrdersByQuadrature) {
  for (const double rate : {1e-5, 0.01, 0.4, 0.99}) {
    for (const double noise : {0.4, 1.0, 8.0}) {
      for (const double order : {2.0, 3.0, 17.0, 64.0, 256.0}) {
        const double sum = SampledGaussianRdp(rate, noise, order);
        EXPECT_NEAR(PairRdp(Pair(Direction::kRemove, rate, noise), order) / sum, 1, 1e-9)
            << rate << ' ' << noise << ' ' << order;
      }
    }
  }
}

TEST(SampledGaussianRdpTest, IsTheLargerOfBothDirections) {
  for (const double rate : {0.001, 0.1, 0.7}) {
    for (const double noise : {0.5, 1.0, 4.0}) {
      for (const double order : {1.2, 2.0, 8.0, 40.0}) {
        EXPECT_GE(SampledGaussianRdp(rate, noise, order) * (1 + 1e-9),
                  PairRdp(Pair(Direction::kAdd, rate, noise), order))
            << rate << ' ' << noise << ' ' << order;
      }
    }
  }
}

TEST(SampledGaussianRdpTest, RisesWithOrderAndRateAndFallsWithNoise) {
  double last = 0;
  for (double order = 1.05; order < 70; order += 0.35) {
    const double rdp = SampledGaussianRdp(0.03, 1.1, order);
    EXPECT_GE(rdp, last * (1 - 1e-10)) << order;
    last = rdp;
  }
  last = 0;
  for (double rate = 0; rate <= 1; rate += 0.05) {
    const double rdp = SampledGaussianRdp(rate, 1.1, 4.5);
    EXPECT_GE(rdp, last);
    last = rdp;
  }
  last = kInfinity;
  for (double noise = 0; noise < 50; noise = noise * 1.3 + 0.1) {
    const double rdp = SampledGaussianRdp(0.03, noise, 4.5);
    EXPECT_LE(rdp, last);
    last = rdp;
  }
}

TEST(SampledGaussianRdpTest, KnowsTheEnds) {
  EXPECT_EQ(SampledGaussianRdp(0, 1, 5), 0);
  EXPECT_EQ(SampledGaussianRdp(0, 0, 5), 0);
  EXPECT_EQ(SampledGaussianRdp(0.1, 0, 5), kInfinity);
  EXPECT_DOUBLE_EQ(SampledGaussianRdp(1, 2, 5), 5.0 / 8);
  // Rates that are nearly 0 and nearly 1, least and most noise: finite and in order.
  EXPECT_GT(SampledGaussianRdp(1e-300, 1, 2.5), -1e-300);
  EXPECT_NEAR(SampledGaussianRdp(1 - 1e-15, 2, 5.5), 5.5 / 8, 1e-9);
  EXPECT_NEAR(SampledGaussianRdp(0.5, 1e6, 3.5) / (0.25 * 3.5 / 2e12), 1, 1e-4);
  EXPECT_LT(SampledGaussianRdp(0.01, 0.01, 10.5), 10.5 / (2 * 1e-4));
  EXPECT_GT(SampledGaussianRdp(0.01, 0.01, 10.5), 0.99 * (10.5 / (2 * 1e-4)) - 10);
}

}  // namespace
}  // namespace chorale::privacy
