#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/crypto/secret_bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>

// Private to this folder: arithmetic modulo p = 2^255 - 19, with eight numbers at once, one in each
// lane of a register. x86-64 with AVX-512 IFMA only. No branch and no address depends on a number.
// Arguments and results may be the same object.
namespace chorale::crypto {

#define CHORALE_IFMA [[gnu::target("avx512f,avx512dq,avx512ifma")]]
#define CHORALE_IFMA_INLINE CHORALE_IFMA [[gnu::always_inline]] inline

// One number of 64 bits a lane.
typedef std::uint64_t Lanes [[gnu::vector_size(64)]];

inline constexpr std::size_t kFieldLanes = 8;
inline constexpr std::size_t kLimbs = 5;
inline constexpr int kLimbBits = 51;
inline constexpr std::uint64_t kLimbMask = (std::uint64_t{1} << kLimbBits) - 1;
// 2p = 2^256 - 38 in limbs.
inline constexpr std::uint64_t kTwicePrime[kLimbs] = {2 * (kLimbMask - 18), 2 * kLimbMask,
                                                      2 * kLimbMask, 2 * kLimbMask, 2 * kLimbMask};

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

// a^(p - 2) = 1 / a, zero for zero.
CHORALE_IFMA void Invert(const Field& a, Field& out);
// a^((p - 5) / 8), from which square roots are made.
CHORALE_IFMA void RaiseForRoot(const Field& a, Field& out);

using FieldBytes = std::array<std::uint8_t, 32>;  // Little-endian.
// The highest bit is not part of the number.
CHORALE_IFMA void Load(std::span<const FieldBytes, kFieldLanes> numbers, Field& out);
// The least numbers that are congruent.
CHORALE_IFMA void Store(const Field& a, std::span<FieldBytes, kFieldLanes> out);

template <typename T>
void WipeObject(T& object) {
  Wipe({reinterpret_cast<std::uint8_t*>(&object), sizeof(object)});
}

}  // namespace chorale::crypto

#endif
