#include "secagg/exact_sum.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "secagg/refusal.h"

namespace chorale::secagg {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are little-endian");

__extension__ typedef __int128 Int128;
__extension__ typedef unsigned __int128 Uint128;

constexpr int kFractionBits = 62;
constexpr double kBound = 0x1p62;
constexpr int kLimbBits = 42;
constexpr std::int64_t kLimbMask = (std::int64_t{1} << kLimbBits) - 1;

using Limbs = std::array<std::int64_t, kExactSumLimbs>;
static_assert(sizeof(Limbs) == kExactSumBytes);

// round(value * 2^62), half away from zero.
Int128 Scale(double value) {
  const double scaled = value * 0x1p62;  // Exact.
  const auto whole = static_cast<Int128>(scaled);
  const double fraction = scaled - static_cast<double>(whole);
  return whole + (fraction >= 0.5 ? 1 : 0) - (fraction <= -0.5 ? 1 : 0);
}

// Shifting right rounds down: the upper limb alone is signed.
Limbs Split(Int128 value) {
  return {static_cast<std::int64_t>(value) & kLimbMask,
          static_cast<std::int64_t>(value >> kLimbBits) & kLimbMask,
          static_cast<std::int64_t>(value >> (2 * kLimbBits))};
}

// The double nearest to low * 2^-62 + high * 2^22 for high >= 0 and low in [0, 2^84).
double Nearest(std::int64_t high, Uint128 low) {
  if (high == 0) return std::ldexp(static_cast<double>(low), -kFractionBits);
  // 20 bits less; that any of them was set is all that rounding has to know.
  static constexpr int kDropped = 20;
  Uint128 top = static_cast<Uint128>(high) << (2 * kLimbBits - kDropped) | low >> kDropped;
  if ((low & ((Uint128{1} << kDropped) - 1)) != 0) top |= 1;
  return std::ldexp(static_cast<double>(top), kDropped - kFractionBits);
}

double Join(const Limbs& sums) {
  // Carries upwards leave digits below 2^42 and a signed rest: |rest| <= 2^60 + 2^20.
  const std::int64_t middle = sums[1] + (sums[0] >> kLimbBits);
  std::int64_t high = sums[2] + (middle >> kLimbBits);
  Uint128 low = static_cast<Uint128>(middle & kLimbMask) << kLimbBits | (sums[0] & kLimbMask);
  if (high >= 0) return Nearest(high, low);
  // -(high * 2^84 + low).
  static constexpr Uint128 kLowEnd = Uint128{1} << (2 * kLimbBits);
  high = low == 0 ? -high : -high - 1;
  low = low == 0 ? low : kLowEnd - low;
  return -Nearest(high, low);
}

}  // namespace

Status EncodeExact(std::span<const double> values, std::span<std::uint8_t> out) {
  if (out.size() / kExactSumBytes != values.size() || out.size() % kExactSumBytes != 0) {
    return InvalidArgument(std::to_string(values.size()) + " exact values take " +
                           std::to_string(values.size() * kExactSumBytes) +
                           " bytes, got room for " + std::to_string(out.size()));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    // Written so that NaN is refused too.
    if (std::abs(values[i]) < kBound) continue;
    return Refused(RefusalCode::kValueOutOfRange,
                   "value " + std::to_string(i) + " is not a number of magnitude below 2^62");
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Limbs limbs = Split(Scale(values[i]));
    std::memcpy(out.data() + i * kExactSumBytes, limbs.data(), kExactSumBytes);
  }
  return OkStatus();
}

void DecodeExact(ByteSpan sum, std::span<double> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    Limbs limbs;
    std::memcpy(limbs.data(), sum.data() + i * kExactSumBytes, kExactSumBytes);
    out[i] = Join(limbs);
  }
}

}  // namespace chorale::secagg
