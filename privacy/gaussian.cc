#include "privacy/gaussian.h"

#include <algorithm>
#include <cmath>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

// Halves [low, high] until no double lies between; `is_high(x)` is false below some x and true
// above. Returns the first of the upper part.
template <typename Predicate>
double Bisect(double low, double high, Predicate is_high) {
  while (true) {
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) return high;
    (is_high(middle) ? high : low) = middle;
  }
}

}  // namespace

double GaussianDelta(double mu, double epsilon) {
  if (mu == 0) return 0;
  if (std::isinf(mu)) return 1;
  const double first = LogNormalCdf(mu / 2 - epsilon / mu);
  const double second = epsilon + LogNormalCdf(-mu / 2 - epsilon / mu);
  return second >= first ? 0 : std::exp(first) * -std::expm1(second - first);
}

double GaussianEpsilon(double mu, double delta) {
  if (GaussianDelta(mu, 0) <= delta) return 0;
  if (std::isinf(mu)) return kInfinity;
  // The privacy loss is normal with mean mu^2/2 and deviation mu: its tail bounds epsilon.
  const double high = mu * mu / 2 + mu * std::sqrt(-2 * std::log(delta));
  return Bisect(0, high, [&](double epsilon) { return GaussianDelta(mu, epsilon) <= delta; });
}

double GaussianMu(double epsilon, double delta) {
  double high = 1;
  while (GaussianDelta(high, epsilon) <= delta) high *= 2;
  const double above =
      Bisect(0, high, [&](double mu) { return GaussianDelta(mu, epsilon) > delta; });
  return std::nextafter(above, 0);
}

}  // namespace chorale::privacy
