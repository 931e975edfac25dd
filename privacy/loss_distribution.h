#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "privacy/monotone_pair.h"

// Privacy loss distributions: the loss ln p(x)/q(x) of an outcome x of P, as masses on a grid.
namespace chorale::privacy {

// A pair of distributions that bounds a mechanism, in pieces: stretches of monotone pairs, single
// losses, and outcomes that only P can have.
struct DominatingPair {
  struct Stretch {
    std::shared_ptr<const MonotonePair> pair;
    double from = 0;  // In the pair's coordinate.
    double to = 0;
    double weight = 1;
  };
  struct Atom {
    double loss = 0;
    double mass = 0;
  };
  std::vector<Stretch> stretches;
  std::vector<Atom> atoms;
  double infinite_mass = 0;
};

// Deviation of the finite losses under P.
[[nodiscard]] double LossDeviation(const DominatingPair& pair);
// Distance between the least and the largest loss kept.
[[nodiscard]] double LossRange(const DominatingPair& pair);

// Masses of losses (first + i) * interval, and of an infinite loss. Every query answers from above:
// below the least loss nothing is known, and delta is 1.
class LossDistribution {
 public:
  LossDistribution(double interval, std::int64_t first, std::vector<double> masses,
                   double infinite_mass);

  // delta(epsilon) = E[(1 - e^(epsilon - loss))+].
  [[nodiscard]] double DeltaAt(double epsilon) const;
  // The least epsilon >= 0 with DeltaAt(epsilon) <= delta; infinite when the infinite mass is more.
  [[nodiscard]] double EpsilonAt(double delta) const;

  [[nodiscard]] double interval() const { return interval_; }
  [[nodiscard]] std::int64_t first() const { return first_; }
  [[nodiscard]] const std::vector<double>& masses() const { return masses_; }
  [[nodiscard]] double infinite_mass() const { return infinite_mass_; }

 private:
  double interval_;
  std::int64_t first_;
  std::vector<double> masses_;
  double infinite_mass_;
};

// Connect the dots (Doroshenko et al., arXiv 2207.04380): the mass between two grid points goes to
// both so that its P and its Q are kept, which is the least distribution on the grid that dominates
// the pair. Shares are integrated (Gauss-Legendre) rather than differenced: all masses are positive
// and accurate in the tails. What the stretches cut off counts as an infinite loss above and as the
// least loss below.
[[nodiscard]] LossDistribution Discretize(const DominatingPair& pair, double interval);

}  // namespace chorale::privacy
