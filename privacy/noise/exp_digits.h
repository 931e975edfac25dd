#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "privacy/noise/wide_integer.h"

namespace chorale::privacy {

// The number p = scale / divisor * exp(-exponent / denominator), 0 <= p < 1.
struct ScaledExp {
  Uint128 exponent = 0;           // Below 2^127.
  std::uint64_t denominator = 1;  // At least 2^63, unless exponent is 0.
  std::uint64_t scale = 1;        // Below 2^41.
  std::uint64_t divisor = 1;      // 1 to 2^41.
};

// The first `count` digits of p in base 2^64, rounded down: exact, however many are asked for.
// Computed in fixed point with a bound on the error, again with more places while that leaves a
// digit in doubt, which ends because p is irrational (Lindemann) unless the exponent is 0, where
// nothing is rounded. REQUIRES: p < 1; exponent / denominator below 2^40.
[[nodiscard]] std::vector<std::uint64_t> DigitsOf(const ScaledExp& number, std::size_t count);

}  // namespace chorale::privacy
