#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/bytes.h"
#include "core/status.h"

// Sums of doubles that are exact and do not depend on their order, for statistics and Newton steps:
// v is rounded once, to the nearest multiple of 2^-62, and travels as limbs
//   round(v * 2^62) = l0 + l1 * 2^42 + l2 * 2^84,   0 <= l0, l1 < 2^42,   |l2| <= 2^40,
// each an element of Z_2^64. Up to 2^20 sites add up without an overflow of any limb.
namespace chorale::secagg {

// Ring elements of 64 bits per number.
inline constexpr std::size_t kExactSumLimbs = 3;
inline constexpr std::size_t kExactSumBytes = 8 * kExactSumLimbs;
inline constexpr std::uint32_t kExactSumMaxSites = 1u << 20;

// values [count], out [24 * count] bytes. Refuses (VALUE_OUT_OF_RANGE) NaN, infinities and
// magnitudes of 2^62 or more, naming the place of the first and never the value; INVALID_ARGUMENT
// when the sizes differ. On error `out` is as before.
[[nodiscard]] Status EncodeExact(std::span<const double> values, std::span<std::uint8_t> out);

// The double nearest to each exact sum, ties to even. sum [24 * count] bytes, out [count].
// REQUIRES: the sizes fit; at most 2^20 summands.
void DecodeExact(ByteSpan sum, std::span<double> out);

}  // namespace chorale::secagg
