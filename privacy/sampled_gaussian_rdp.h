#pragma once

// Rényi divergence of the Poisson-sampled Gaussian mechanism under add or remove one (Mironov,
// Talwar and Zhang, arXiv 1908.10530).
namespace chorale::privacy {

// rho(order) = ln A / (order - 1) of one step, with
// A = E over z ~ N(0, noise^2) of (1 - q + q e^((2z - 1) / 2 noise^2))^order. Both directions:
// theirs is the larger (theorem 5 there).
//
// Whole orders by the binomial sum, every term of which is positive; others by the two series of
// section 3.3 with the signs that generalised binomial coefficients have, and by quadrature where
// the series would cancel (A within 1e-3 of 1) or not converge. Relative error below 1e-9.
//
// REQUIRES: 0 <= sample_rate <= 1, noise >= 0, order > 1. Infinite for noise 0.
[[nodiscard]] double SampledGaussianRdp(double sample_rate, double noise, double order);

// The fractional series alone, for tests: ln A, or NaN where it does not converge.
[[nodiscard]] double LogMomentBySeries(double sample_rate, double noise, double order);

}  // namespace chorale::privacy
