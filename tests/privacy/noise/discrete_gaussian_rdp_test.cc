#include "privacy/noise/discrete_gaussian_rdp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "privacy/sampled_gaussian_rdp.h"

namespace chorale::privacy {
namespace {

// What rounding with randomised rotation and conditional rounding (beta = e^-1/2) makes of a norm
// in steps, as in the published figures below.
double PublishedSensitivity(double norm, double d) {
  return std::sqrt(norm * norm + d / 4 + norm + std::sqrt(d) / 2);
}

double EpsilonAlone(const DiscreteGaussianSum& sum, double steps, double delta) {
  RdpCurve curve{ExtendedOrders(), {}};
  for (const double order : curve.orders) {
    curve.values.push_back(steps * DiscreteGaussianSumRdp(sum, order));
  }
  return EpsilonOf(curve, delta).epsilon;
}

TEST(SumDistanceTest, IsTheSumOfTheFormula) {
  const double unit = 2 * std::numbers::pi * std::numbers::pi;

  EXPECT_EQ(SumDistance(1, 0.5), 0);
  EXPECT_NEAR(SumDistance(2, 0.5), 10 * std::exp(-unit / 8), 1e-12);
  EXPECT_NEAR(SumDistance(3, 0.5), 10 * (std::exp(-unit / 8) + std::exp(-unit / 6)), 1e-12);
  EXPECT_EQ(SumDistance(10'000, kMinShareSigma), 0);  // Below 1e-427.
}

TEST(DiscreteGaussianSumRdpTest, IsTheLeastOfThreeBounds) {
  const double tau = SumDistance(5, 1.2);
  const double sigma = 1.2 * std::sqrt(5.0);
  for (const double d : {1.0, 4.0, 1e6, 1e10}) {
    for (const double order : {1.5, 2.0, 32.0}) {
      const DiscreteGaussianSum sum{5, 1.2, static_cast<std::uint64_t>(d), 3};
      const double manhattan = std::min(3 * std::sqrt(d), 9.0);
      const double first = order * 9 / (2 * sigma * sigma) + tau * d;
      const double second =
          order / 2 * (9 / (sigma * sigma) + 2 * manhattan * tau / sigma + tau * tau * d);
      const double third = order / 2 * std::pow(3 / sigma + tau * std::sqrt(d), 2);
      const double value = DiscreteGaussianSumRdp(sum, order);

      EXPECT_NEAR(value, std::min({first, second, third}), 1e-9 * value);
    }
  }
}

TEST(DiscreteGaussianSumRdpTest, GivesThePublishedEpsilons) {
  // Figures of the reference implementation: 10 shares, one of noise 1 for norm 1, delta 1e-5.
  const auto sum = [](double step, double d) {
    return DiscreteGaussianSum{10, 1 / step, static_cast<std::uint64_t>(d),
                               PublishedSensitivity(1 / step, d)};
  };

  EXPECT_NEAR(PublishedSensitivity(1000, 65'536), 1008.718, 1e-3);
  EXPECT_NEAR(EpsilonAlone(sum(1e-3, 65'536), 1, 1e-5), 1.32075567, 1e-6);
  EXPECT_NEAR(EpsilonAlone(sum(1e-4, 65'536), 1, 1e-5), 1.30868285, 1e-6);
  EXPECT_NEAR(EpsilonAlone(sum(1e-6, 1 << 20), 1, 1e-5), 1.30849815, 1e-6);
}

TEST(DiscreteGaussianSumRdpTest, ACoarseGridIsWorthless) {
  // Step 1, 1024 parameters, 100 shares of 0.5 for norm 10: 10.8 with continuous noise.
  const DiscreteGaussianSum coarse{100, 0.5, 1024, PublishedSensitivity(10, 1024)};

  EXPECT_NEAR(SumDistance(100, 0.5), 9.7, 0.05);
  EXPECT_GT(EpsilonAlone(coarse, 1, 1e-5), 5000);
  const Status status = SampledDiscreteGaussianRdp(coarse, 0.1, std::vector<double>{2}).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), ::testing::HasSubstr("too coarse"));
}

TEST(SampledDiscreteGaussianRdpTest, IsTheGaussiansAtWholeOrders) {
  const DiscreteGaussianSum sum{4, 100, 1000, 160};
  const std::vector<double> orders = {2, 3, 8, 64};

  const auto curve = SampledDiscreteGaussianRdp(sum, 0.05, orders);

  ASSERT_TRUE(curve.ok());
  ASSERT_EQ(curve->orders, orders);
  for (std::size_t i = 0; i < orders.size(); ++i) {
    EXPECT_NEAR(curve->values[i], SampledGaussianRdp(0.05, 1.25, orders[i]),
                1e-12 * curve->values[i]);
  }
}

// The divergence of order alpha between a sampled one-dimensional discrete Gaussian with and
// without the unit, by summing over the whole numbers.
double DirectRdp(double sigma, int shift, double q, double order, bool is_removed) {
  double total = 0;
  double normalizer = 0;
  for (int x = -2000; x <= 2000; ++x) {
    const double without = std::exp(-x * x / (2 * sigma * sigma));
    const double moved = std::exp(-(x - shift) * (x - shift) / (2 * sigma * sigma));
    const double with = (1 - q) * without + q * moved;
    normalizer += without;
    if (without < 1e-280) continue;
    const double ratio = with / without;
    total += is_removed ? without * std::pow(ratio, order) : with * std::pow(ratio, -order);
  }
  return std::log(total / normalizer) / (order - 1);
}

TEST(SampledDiscreteGaussianRdpTest, BoundsTheDivergenceThatSummingGives) {
  for (const double q : {0.01, 0.2, 0.7}) {
    for (const double order : {2.0, 3.0, 8.0}) {
      const DiscreteGaussianSum sum{1, 12, 1, 10};
      const double bound =
          SampledDiscreteGaussianRdp(sum, q, std::vector<double>{order})->values[0];
      const double remove = DirectRdp(12, 10, q, order, true);
      const double add = DirectRdp(12, 10, q, order, false);

      EXPECT_LE(remove, bound * (1 + 1e-9));
      EXPECT_NEAR(remove, bound, 1e-6 * bound);  // At sigma 12 nothing tells it from a Gaussian.
      EXPECT_LE(add, bound * (1 + 1e-9));
    }
  }
}

TEST(SampledDiscreteGaussianRdpTest, RefusesWhatHasNoProof) {
  const DiscreteGaussianSum sum{4, 100, 1000, 160};
  const auto code = [](const DiscreteGaussianSum& noise, double rate, double order) {
    return SampledDiscreteGaussianRdp(noise, rate, std::vector<double>{order}).status().code();
  };

  EXPECT_EQ(code(sum, 0.1, 2), StatusCode::kOk);
  EXPECT_EQ(code(sum, 0.1, 2.5), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(sum, 0.1, 1), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(sum, 1.1, 2), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(sum, std::nan(""), 2), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({4, 9.9, 1000, 160}, 0.1, 2), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({4, 100, 1000, 0}, 0.1, 2), StatusCode::kInvalidArgument);
}

TEST(SumOfTest, CountsTheHonestShares) {
  const Grid grid = *Grid::Create({.max_grad_norm = 1, .num_parameters = 10'000});
  const NoiseShare share = *PlanNoiseShare(
      grid, {.noise_multiplier = 2, .num_sites = 5, .tolerated_dropouts = 1, .max_batch = 100});
  const DiscreteGaussianSum sum = SumOf(grid, share);

  EXPECT_EQ(sum.num_shares, 4u);
  EXPECT_NEAR(2 * sum.share_sigma / sum.sensitivity, 2, 1e-12);
}

}  // namespace
}  // namespace chorale::privacy
