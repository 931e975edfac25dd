#include "privacy/fixed_size_rdp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "privacy/log_math.h"
#include "privacy/rdp_curve.h"
#include "privacy/sampled_gaussian_rdp.h"

namespace chorale::privacy {
namespace {

double At(double share, double noise, double order) {
  return FixedSizeRdp(share, noise, std::vector<double>{order}).front();
}

// 100 of 10,000 units, noise equal to the sensitivity, 1000 steps, delta 1e-5: published.
TEST(FixedSizeRdpTest, AgreesWithThePublishedEpsilon) {
  const std::vector<double> orders = StandardOrders();
  RdpCurve curve{.orders = orders, .values = FixedSizeRdp(0.01, 1, orders)};
  for (double& value : curve.values) value *= 1000;

  const EpsilonAtOrder best = EpsilonOf(curve, 1e-5);

  EXPECT_NEAR(best.epsilon, 3.576111482350549, 1e-9);
  EXPECT_EQ(best.order, 6);
}

// With the other units' contributions opposed to the unit's, a step is a mixture with the share as
// its weight, one sensitivity apart: no bound may be below.
TEST(FixedSizeRdpTest, IsNeverBelowAnAttack) {
  for (const double share : {1e-4, 0.01, 0.1, 0.6}) {
    for (const double noise : {0.3, 1.0, 5.0}) {
      for (const double order : {2.0, 3.0, 5.0, 20.0, 60.0}) {
        EXPECT_GE(At(share, noise, order) * (1 + 1e-9), SampledGaussianRdp(share, noise, order))
            << share << ' ' << noise << ' ' << order;
      }
    }
  }
}

TEST(FixedSizeRdpTest, InterpolatesBetweenWholeOrders) {
  const double two = At(0.02, 1.5, 2);
  const double three = At(0.02, 1.5, 3);
  EXPECT_NEAR(At(0.02, 1.5, 2.25) * 1.25, 0.75 * two + 0.25 * 2 * three, 1e-15);
  // From order 1, where the moment is 1.
  EXPECT_NEAR(At(0.02, 1.5, 1.5) * 0.5, 0.5 * two, 1e-15);
}

TEST(FixedSizeRdpTest, KnowsTheEnds) {
  EXPECT_EQ(At(0, 1, 5), 0);
  EXPECT_EQ(At(0.1, 0, 5), kInfinity);
  EXPECT_DOUBLE_EQ(At(1, 2, 5), 5.0 / 8);
  EXPECT_TRUE(std::isfinite(At(0.5, 0.005, 63)));
  EXPECT_TRUE(std::isfinite(At(1e-9, 1e6, 63)));
}

}  // namespace
}  // namespace chorale::privacy
