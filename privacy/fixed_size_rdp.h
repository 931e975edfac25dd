#pragma once

#include <span>
#include <vector>

// Rényi divergence of the Gaussian mechanism on a batch of fixed size, drawn without replacement,
// under replace one (Wang, Balle and Kasiviswanathan, arXiv 1808.00087, theorem 27).
namespace chorale::privacy {

// Upper bounds at each of `orders` for one step. `noise` is the deviation over the sensitivity
// under replace one, which is twice the clipping bound. Fractional orders interpolate
// (order - 1) rho, which is convex (corollary 10 there).
//
// REQUIRES: 0 <= share <= 1, noise >= 0, orders > 1. Infinite for noise 0.
[[nodiscard]] std::vector<double> FixedSizeRdp(double share, double noise,
                                               std::span<const double> orders);

}  // namespace chorale::privacy
