#include "core/crypto/x25519_lanes.h"

#include <algorithm>

#include "core/crypto/field_lanes.h"

namespace chorale::crypto {

#if defined(__x86_64__)
namespace {

static_assert(kX25519Lanes == kFieldLanes);

// a + 121665 b, the curve's constant (A - 2) / 4.
CHORALE_IFMA_INLINE void AddScaled(const Field& a, const Field& b, Field& out) {
  const Lanes factor = Lanes{} + 121665;
  Lanes low[kLimbs];
  Lanes high[kLimbs];
#pragma GCC unroll 9
  for (std::size_t i = 0; i < kLimbs; ++i) {
    low[i] = AddLow(a.limb[i], b.limb[i], factor);
    high[i] = AddHigh(Lanes{}, b.limb[i], factor) << 1;
  }
  low[0] = AddLow(low[0], high[kLimbs - 1], Nineteen());
#pragma GCC unroll 9
  for (std::size_t i = 1; i < kLimbs; ++i) low[i] += high[i - 1];
  Carry(low, out);
}

// Exchanges a and b in the lanes of `is_swapped`.
CHORALE_IFMA_INLINE void SwapIf(__mmask8 is_swapped, Field& a, Field& b) {
#pragma GCC unroll 9
  for (std::size_t i = 0; i < kLimbs; ++i) {
    const auto old_a = (__m512i)a.limb[i];
    const auto old_b = (__m512i)b.limb[i];
    a.limb[i] = (Lanes)_mm512_mask_blend_epi64(is_swapped, old_a, old_b);
    b.limb[i] = (Lanes)_mm512_mask_blend_epi64(is_swapped, old_b, old_a);
  }
}

// The points x2 / z2 and x3 / z3, which differ by x1 (RFC 7748, section 5).
struct Ladder {
  Field x1, x2, z2, x3, z3;
};

CHORALE_IFMA void Step(Ladder& ladder) {
  Field a, aa, b, bb, c, d, da, cb, e;
  Add(ladder.x2, ladder.z2, a);
  Subtract(ladder.x2, ladder.z2, b);
  Add(ladder.x3, ladder.z3, c);
  Subtract(ladder.x3, ladder.z3, d);
  Multiply(d, a, da);
  Multiply(c, b, cb);
  Square(a, aa);
  Square(b, bb);
  Add(da, cb, ladder.x3);
  Square(ladder.x3, ladder.x3);
  Subtract(da, cb, ladder.z3);
  Square(ladder.z3, ladder.z3);
  Multiply(ladder.z3, ladder.x1, ladder.z3);
  Multiply(aa, bb, ladder.x2);
  Subtract(aa, bb, e);
  AddScaled(aa, e, ladder.z2);
  Multiply(ladder.z2, e, ladder.z2);
}

}  // namespace

bool HasX25519Lanes() {
  // The compiler's question covers the operating system's part in AVX-512.
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512ifma");
  return has;
}

CHORALE_IFMA void MultiplyLanes(ByteSpan key, std::span<const X25519PublicKey, kX25519Lanes> points,
                                std::span<std::array<std::uint8_t, 32>, kX25519Lanes> shared) {
  std::array<std::uint8_t, 32> scalar;
  std::copy(key.begin(), key.end(), scalar.begin());
  scalar[0] &= 248;
  scalar[31] = (scalar[31] & 127) | 64;

  Ladder ladder{};
  Load(points, ladder.x1);
  ladder.x2.limb[0] += 1;
  ladder.x3 = ladder.x1;
  ladder.z3.limb[0] += 1;
  std::uint64_t before = 0;
  for (std::size_t bit = 255; bit-- > 0;) {
    const std::uint64_t now = scalar[bit / 8] >> bit % 8 & 1;
    const auto is_swapped = static_cast<__mmask8>(0 - (now ^ before));
    SwapIf(is_swapped, ladder.x2, ladder.x3);
    SwapIf(is_swapped, ladder.z2, ladder.z3);
    before = now;
    Step(ladder);
  }
  // The scalar's last bit is zero: the points stand where they belong.
  Field quotient;
  Invert(ladder.z2, quotient);
  Multiply(quotient, ladder.x2, quotient);
  Store(quotient, shared);
  WipeObject(scalar);
  WipeObject(ladder);
  WipeObject(quotient);
  // GCC 12 forgets this; without it OpenSSL's older instructions take twice as long afterwards.
  _mm256_zeroupper();
}

#else  // Not x86-64: nobody calls these.

bool HasX25519Lanes() { return false; }
void MultiplyLanes(ByteSpan, std::span<const X25519PublicKey, kX25519Lanes>,
                   std::span<std::array<std::uint8_t, 32>, kX25519Lanes>) {}

#endif

}  // namespace chorale::crypto
