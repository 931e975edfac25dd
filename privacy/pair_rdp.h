#pragma once

#include "privacy/monotone_pair.h"

// Rényi divergence between two mixtures of normals, numerically.
namespace chorale::privacy {

// D_order(P || Q) by the trapezoid rule, whose error falls exponentially here: the integrand is
// analytic up to the zeros of the mixtures, pi noise^2 / spread away from the line. Relative error
// below 1e-9. Where noise is so small beside the contributions that this would take millions of
// points, the upper bound by joint convexity:
// A <= sum over i of w_i e^(order (order - 1) d_i^2 / 2 noise^2) with d_i the distance of the two
// components.
//
// REQUIRES: order > 1.
[[nodiscard]] double PairRdp(const NormalPair& pair, double order);

}  // namespace chorale::privacy
