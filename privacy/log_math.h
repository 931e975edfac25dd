#pragma once

#include <limits>

// Arithmetic on logarithms: probabilities here go down to exp(-1e6).
namespace chorale::privacy {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

// ln(e^a + e^b).
[[nodiscard]] double LogAdd(double a, double b);

// ln(e^x - 1) for x > 0; -infinity at 0.
[[nodiscard]] double LogExpm1(double x);

// ln(erfc(x)), also where erfc underflows.
[[nodiscard]] double LogErfc(double x);

// ln of the standard normal distribution function, to full relative accuracy in the lower tail.
[[nodiscard]] double LogNormalCdf(double x);

// ln of the binomial coefficient n over k, for 0 <= k <= n.
[[nodiscard]] double LogBinomial(double n, double k);

}  // namespace chorale::privacy
