#pragma once

// The Gaussian mechanism, exactly (Balle and Wang, ICML 2018, arXiv 1805.06530, theorem 8). The
// classical bound sqrt(2 ln(1.25/delta))/epsilon appears nowhere: it does not hold above epsilon 1.
//
// `mu` is sensitivity over standard deviation; T releases with mu each are one with sqrt(T) mu
// (Dong, Roth and Su, arXiv 1905.02383). Adding and removing cost the same.
namespace chorale::privacy {

// delta(epsilon) = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu).
// REQUIRES: mu >= 0, epsilon >= 0.
[[nodiscard]] double GaussianDelta(double mu, double epsilon);

// The least epsilon >= 0 with GaussianDelta(mu, epsilon) <= delta; within rounding, from above.
// REQUIRES: mu >= 0, 0 < delta < 1.
[[nodiscard]] double GaussianEpsilon(double mu, double delta);

// The largest mu with GaussianDelta(mu, epsilon) <= delta; 1/mu is the least standard deviation at
// sensitivity 1. REQUIRES: epsilon >= 0, 0 < delta < 1.
[[nodiscard]] double GaussianMu(double epsilon, double delta);

}  // namespace chorale::privacy
