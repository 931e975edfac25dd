#include "core/crypto/field_lanes.h"

#include <cstring>

#if defined(__x86_64__)

namespace chorale::crypto {
namespace {

using Words = std::array<std::uint64_t, 4>;  // Little-endian.

CHORALE_IFMA void SquareTimes(const Field& a, int times, Field& out) {
  out = a;
  for (int i = 0; i < times; ++i) Square(out, out);
}

// a^(2^times) b.
CHORALE_IFMA void SquareTimesMultiply(const Field& a, int times, const Field& b, Field& out) {
  Field power;
  SquareTimes(a, times, power);
  Multiply(power, b, out);
}

// up = a^(2^250 - 1), eleven = a^11. up_n is a^(2^n - 1).
CHORALE_IFMA void Raise(const Field& a, Field& eleven, Field& up) {
  Field two, nine, up_5, up_10, up_20, up_40, up_50, up_100;
  Square(a, two);
  SquareTimesMultiply(two, 2, a, nine);
  Multiply(nine, two, eleven);
  SquareTimesMultiply(eleven, 1, nine, up_5);
  SquareTimesMultiply(up_5, 5, up_5, up_10);
  SquareTimesMultiply(up_10, 10, up_10, up_20);
  SquareTimesMultiply(up_20, 20, up_20, up_40);
  SquareTimesMultiply(up_40, 10, up_10, up_50);
  SquareTimesMultiply(up_50, 50, up_50, up_100);
  SquareTimesMultiply(up_100, 100, up_100, up);
  SquareTimesMultiply(up, 50, up_50, up);
}

}  // namespace

CHORALE_IFMA void Invert(const Field& a, Field& out) {
  Field eleven, up;
  Raise(a, eleven, up);
  SquareTimesMultiply(up, 5, eleven, out);
}

CHORALE_IFMA void RaiseForRoot(const Field& a, Field& out) {
  Field eleven, up;
  Raise(a, eleven, up);
  SquareTimesMultiply(up, 2, a, out);
}

CHORALE_IFMA void Load(std::span<const FieldBytes, kFieldLanes> numbers, Field& out) {
  for (std::size_t lane = 0; lane < kFieldLanes; ++lane) {
    Words words;
    std::memcpy(words.data(), numbers[lane].data(), sizeof(words));
    out.limb[0][lane] = words[0] & kLimbMask;
    out.limb[1][lane] = (words[0] >> 51 | words[1] << 13) & kLimbMask;
    out.limb[2][lane] = (words[1] >> 38 | words[2] << 26) & kLimbMask;
    out.limb[3][lane] = (words[2] >> 25 | words[3] << 39) & kLimbMask;
    out.limb[4][lane] = words[3] >> 12 & kLimbMask;
  }
}

CHORALE_IFMA void Store(const Field& a, std::span<FieldBytes, kFieldLanes> out) {
  for (std::size_t lane = 0; lane < kFieldLanes; ++lane) {
    std::uint64_t limbs[kLimbs];
    for (std::size_t i = 0; i < kLimbs; ++i) limbs[i] = a.limb[i][lane];
    // Twice, as the first carry into limb 0 may carry once more.
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t i = 0; i < kLimbs; ++i) {
        const std::uint64_t carry = limbs[i] >> kLimbBits;
        limbs[i] &= kLimbMask;
        limbs[(i + 1) % kLimbs] += i + 1 == kLimbs ? 19 * carry : carry;
      }
    }
    // Below 2^255 now, that is below 2p: p is to be subtracted if adding 19 reaches 2^255.
    std::uint64_t carry = 19;
    for (std::size_t i = 0; i < kLimbs; ++i) carry = (limbs[i] + carry) >> kLimbBits;
    carry *= 19;
    for (std::size_t i = 0; i < kLimbs; ++i) {
      carry += limbs[i];
      limbs[i] = carry & kLimbMask;
      carry >>= kLimbBits;
    }
    Words words = {limbs[0] | limbs[1] << 51, limbs[1] >> 13 | limbs[2] << 38,
                   limbs[2] >> 26 | limbs[3] << 25, limbs[3] >> 39 | limbs[4] << 12};
    std::memcpy(out[lane].data(), words.data(), sizeof(words));
  }
}

}  // namespace chorale::crypto

#endif
