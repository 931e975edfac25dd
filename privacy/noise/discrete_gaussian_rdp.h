#pragma once

#include <cstdint>
#include <span>

#include "core/status.h"
#include "privacy/noise/grid.h"
#include "privacy/rdp_curve.h"

// What sums with discrete Gaussian noise cost. A sum of discrete Gaussians is not quite one, which
// the distance tau measures (Kairouz, Liu and Steinke, arXiv 2102.06387).
namespace chorale::privacy {

// The noise on a sum: `num_shares` independent draws for every coordinate.
struct DiscreteGaussianSum {
  std::uint32_t num_shares = 1;      // m.
  double share_sigma = 0;            // Of one, in steps.
  std::uint64_t num_parameters = 1;  // d.
  double sensitivity = 0;            // Of the sum, in steps, in the Euclidean norm.
};

// The noise that is sure to be there under a plan.
[[nodiscard]] DiscreteGaussianSum SumOf(const Grid& grid, const NoiseShare& share);

// tau = 10 sum over k = 1 .. m - 1 of exp(-2 pi^2 share_sigma^2 k / (k + 1)).
[[nodiscard]] double SumDistance(std::uint32_t num_shares, double share_sigma);

// rho(order) of the noisy sum over all units, without sampling: the least of the three bounds of
// theorem 1 of arXiv 2102.06387, with sigma^2 = m share_sigma^2 and the Manhattan sensitivity
// bounded by min(sqrt(d) D, D^2) for the Euclidean D, as the sum moves by whole steps. Holds for
// any grid, however coarse. REQUIRES: order > 1; positive numbers.
[[nodiscard]] double DiscreteGaussianSumRdp(const DiscreteGaussianSum& sum, double order);

// The curve of one step with Poisson sampling by `sample_rate` under add or remove one. With shares
// of at least 10 steps tau is below 1e-427, nothing in double precision, and the divergences of the
// noise are at most the Gaussian's; at whole orders the binomial series then bounds the sampled
// sum in both directions (proposition 5 of arXiv 2004.00010; theorem 5 of 1908.10530, whose
// symmetry z -> v - z whole numbers have). INVALID_ARGUMENT: narrower shares; an order that is not
// whole or not above 1; a rate outside [0, 1]; no sensitivity.
[[nodiscard]] StatusOr<RdpCurve> SampledDiscreteGaussianRdp(const DiscreteGaussianSum& sum,
                                                            double sample_rate,
                                                            std::span<const double> orders);

}  // namespace chorale::privacy
