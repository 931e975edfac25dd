#include "privacy/log_math.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace chorale::privacy {
namespace {

// std::lgamma writes a global variable; this one may run on many threads.
double LogGamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

}  // namespace

double LogAdd(double a, double b) {
  const double high = std::max(a, b);
  if (std::isinf(high)) return high;
  return high + std::log1p(std::exp(std::min(a, b) - high));
}

double LogExpm1(double x) {
  return x > 30 ? x + std::log1p(-std::exp(-x)) : std::log(std::expm1(x));
}

double LogErfc(double x) {
  // erfc(25) is 8e-274: still a normal number.
  if (x < 25) return std::log(std::erfc(x));
  // Asymptotic series (Abramowitz and Stegun 7.1.23); its terms fall below 1e-16 by the sixth.
  const double z = 1 / (2 * x * x);
  const double series = -z * (1 - 3 * z * (1 - 5 * z * (1 - 7 * z * (1 - 9 * z))));
  return -x * x - std::log(x * std::sqrt(std::numbers::pi)) + std::log1p(series);
}

double LogNormalCdf(double x) {
  // Near 1 the logarithm of the complement is the exact one.
  if (x > 1) return std::log1p(-0.5 * std::erfc(x / std::numbers::sqrt2));
  return LogErfc(-x / std::numbers::sqrt2) - std::numbers::ln2;
}

double LogBinomial(double n, double k) {
  return LogGamma(n + 1) - LogGamma(k + 1) - LogGamma(n - k + 1);
}

}  // namespace chorale::privacy
