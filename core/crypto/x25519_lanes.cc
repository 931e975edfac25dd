#include "core/crypto/x25519_lanes.h"

#include <algorithm>
#include <cstring>

#include "core/crypto/secret_bytes.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace chorale::crypto {

#if defined(__x86_64__)
namespace {

#define CHORALE_IFMA [[gnu::target("avx512f,avx512dq,avx512ifma")]]
#define CHORALE_IFMA_INLINE CHORALE_IFMA [[gnu::always_inline]] inline

// One number of 64 bits a lane.
typedef std::uint64_t Lanes [[gnu::vector_size(64)]];

constexpr std::size_t kLimbs = 5;
constexpr int kLimbBits = 51;
constexpr std::uint64_t kLimbMask = (std::uint64_t{1} << kLimbBits) - 1;
// 2p = 2^256 - 38 in limbs.
constexpr std::uint64_t kTwicePrime[kLimbs] = {2 * (kLimbMask - 18), 2 * kLimbMask, 2 * kLimbMask,
                                               2 * kLimbMask, 2 * kLimbMask};

// Eight numbers modulo p = 2^255 - 19, each the sum of limb[i] * 2^(51 i). "Small" limbs are below
// 2^51 + 2^14: what Carry leaves, and what every operation takes and gives. The instructions
// multiply the lower 52 bits, so that nothing of a small limb is lost.
struct Field {
  Lanes limb[kLimbs];
};

// acc + the lower, or the upper, 52 of the 104 bits of a * b.
CHORALE_IFMA_INLINE Lanes AddLow(Lanes acc, Lanes a, Lanes b) {
  return (Lanes)_mm512_madd52lo_epu64((__m512i)acc, (__m512i)a, (__m512i)b);
}
CHORALE_IFMA_INLINE Lanes AddHigh(Lanes acc, Lanes a, Lanes b) {
  return (Lanes)_mm512_madd52hi_epu64((__m512i)acc, (__m512i)a, (__m512i)b);
}

// What 2^255 weighs. Kept from the compiler, which would multiply by it in four instructions where
// the processor has one.
CHORALE_IFMA_INLINE Lanes Nineteen() {
  Lanes factor = Lanes{} + 19;
  asm("" : "+v"(factor));
  return factor;
}

// Limbs below 2^60, so that a carry is below 2^9 and 19 of them are below 2^14.
CHORALE_IFMA_INLINE void Carry(const Lanes* limbs, Field& out) {
  const Lanes top = limbs[kLimbs - 1] >> kLimbBits;
  Lanes carried = limbs[0] >> kLimbBits;
  out.limb[0] = AddLow(limbs[0] & kLimbMask, top, Nineteen());
#pragma GCC unroll 9
  for (std::size_t i = 1; i < kLimbs; ++i) {
    const Lanes next = limbs[i] >> kLimbBits;
    out.limb[i] = (limbs[i] & kLimbMask) + carried;
    carried = next;
  }
}

CHORALE_IFMA_INLINE void Add(const Field& a, const Field& b, Field& out) {
  Lanes limbs[kLimbs];
#pragma GCC unroll 9
  for (std::size_t i = 0; i < kLimbs; ++i) limbs[i] = a.limb[i] + b.limb[i];
  Carry(limbs, out);
}

CHORALE_IFMA_INLINE void Subtract(const Field& a, const Field& b, Field& out) {
  Lanes limbs[kLimbs];
#pragma GCC unroll 9
  for (std::size_t i = 0; i < kLimbs; ++i) limbs[i] = a.limb[i] + kTwicePrime[i] - b.limb[i];
  Carry(limbs, out);
}

// sums[k] of 2^(51 k). Every product of limbs is below 2^103: its lower 52 bits belong to the sum
// of their places, the upper ones weigh 2 of the next. No place has more than five products, so
// that a sum is below 2^55, and 20 of them below 2^60.
using Sums = Lanes[2 * kLimbs];

CHORALE_IFMA_INLINE void Double(Sums& sums) {
#pragma GCC unroll 10
  for (std::size_t k = 0; k < 2 * kLimbs; ++k) sums[k] += sums[k];
}

// 2^(51 (k + 5)) is 19 of 2^(51 k).
CHORALE_IFMA_INLINE void Reduce(const Sums& sums, Field& out) {
  Lanes limbs[kLimbs];
#pragma GCC unroll 9
  for (std::size_t k = 0; k < kLimbs; ++k) limbs[k] = sums[k] + sums[k + kLimbs] * Nineteen();
  Carry(limbs, out);
}

// The upper halves first: once doubled, the others are added where they stand.
CHORALE_IFMA_INLINE void Multiply(const Field& a, const Field& b, Field& out) {
  Sums sums{};
#pragma GCC unroll 9
  for (std::size_t i = 0; i < kLimbs; ++i) {
#pragma GCC unroll 9
    for (std::size_t j = 0; j < kLimbs; ++j) {
      sums[i + j + 1] = AddHigh(sums[i + j + 1], a.limb[i], b.limb[j]);
    }
  }
  Double(sums);
#pragma GCC unroll 9
  for (std::size_t i = 0; i < kLimbs; ++i) {
#pragma GCC unroll 9
    for (std::size_t j = 0; j < kLimbs; ++j) {
      sums[i + j] = AddLow(sums[i + j], a.limb[i], b.limb[j]);
    }
  }
  Reduce(sums, out);
}

// Products of different limbs count twice, hence their upper halves four times.
CHORALE_IFMA_INLINE void Square(const Field& a, Field& out) {
  Sums sums{};
#pragma GCC unroll 9
  for (std::size_t i = 0; i < kLimbs; ++i) {
#pragma GCC unroll 9
    for (std::size_t j = i + 1; j < kLimbs; ++j) {
      sums[i + j + 1] = AddHigh(sums[i + j + 1], a.limb[i], a.limb[j]);
    }
  }
  Double(sums);
#pragma GCC unroll 9
  for (std::size_t i = 0; i < kLimbs; ++i) {
    sums[2 * i + 1] = AddHigh(sums[2 * i + 1], a.limb[i], a.limb[i]);
#pragma GCC unroll 9
    for (std::size_t j = i + 1; j < kLimbs; ++j) {
      sums[i + j] = AddLow(sums[i + j], a.limb[i], a.limb[j]);
    }
  }
  Double(sums);
#pragma GCC unroll 9
  for (std::size_t i = 0; i < kLimbs; ++i) {
    sums[2 * i] = AddLow(sums[2 * i], a.limb[i], a.limb[i]);
  }
  Reduce(sums, out);
}

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

// a^(p - 2) = a^(2^255 - 21), zero for zero. up_n is a^(2^n - 1).
CHORALE_IFMA void Invert(const Field& a, Field& out) {
  Field two, nine, eleven, up_5, up_10, up_20, up_40, up_50, up_100, up;
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
  SquareTimesMultiply(up, 5, eleven, out);
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

using Words = std::array<std::uint64_t, 4>;  // Little-endian.

// The highest bit is not part of the number.
CHORALE_IFMA void Load(std::span<const X25519PublicKey, kX25519Lanes> points, Field& out) {
  for (std::size_t lane = 0; lane < kX25519Lanes; ++lane) {
    Words words;
    std::memcpy(words.data(), points[lane].data(), sizeof(words));
    out.limb[0][lane] = words[0] & kLimbMask;
    out.limb[1][lane] = (words[0] >> 51 | words[1] << 13) & kLimbMask;
    out.limb[2][lane] = (words[1] >> 38 | words[2] << 26) & kLimbMask;
    out.limb[3][lane] = (words[2] >> 25 | words[3] << 39) & kLimbMask;
    out.limb[4][lane] = words[3] >> 12 & kLimbMask;
  }
}

// The least number that is congruent, in 32 bytes.
CHORALE_IFMA void Store(const Field& a, std::span<std::array<std::uint8_t, 32>, kX25519Lanes> out) {
  for (std::size_t lane = 0; lane < kX25519Lanes; ++lane) {
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

template <typename T>
void WipeObject(T& object) {
  Wipe({reinterpret_cast<std::uint8_t*>(&object), sizeof(object)});
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
