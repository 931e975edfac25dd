#include "secagg/ring_add.h"

#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// GCC takes the width of vectors as an attribute, Clang chooses it.
#if defined(__clang__)
#define CHORALE_AVX512 "avx512f,avx512bw"
#else
#define CHORALE_AVX512 "avx512f,avx512bw,prefer-vector-width=512"
#endif

namespace chorale::secagg {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are little-endian");

struct Operands {
  const std::uint8_t* addend;
  std::uint8_t* out;
  std::size_t size;
};

// A word where it stands in a packed vector.
template <typename Word>
struct Unaligned {
  typedef Word Type [[gnu::aligned(1), gnu::may_alias]];
};

template <typename Word, bool kIsSubtracted>
[[gnu::always_inline]] inline void AddWords(const Operands& operands) {
  using Element = typename Unaligned<Word>::Type;
  const auto* const __restrict addend = reinterpret_cast<const Element*>(operands.addend);
  auto* const __restrict out = reinterpret_cast<Element*>(operands.out);
  const std::size_t count = operands.size / sizeof(Word);
  for (std::size_t i = 0; i < count; ++i) {
    const Word value = addend[i];
    out[i] = static_cast<Word>(kIsSubtracted ? out[i] - value : out[i] + value);
  }
}

__extension__ typedef unsigned __int128 Uint128;

// Eight elements of 24 bits as one number of 192 bits.
struct Octet {
  Uint128 low;
  std::uint64_t high;
};
constexpr std::size_t kOctetBytes = 24;

// The top bit of every element.
constexpr Uint128 kTopLow =
    static_cast<Uint128>(0x0080'0000'8000'0080) << 64 | 0x0000'8000'0080'0000;
constexpr std::uint64_t kTopHigh = 0x8000'0080'0000'8000;

Octet Load(const std::uint8_t* bytes) {
  Octet octet;
  std::memcpy(&octet.low, bytes, sizeof(octet.low));
  std::memcpy(&octet.high, bytes + sizeof(octet.low), sizeof(octet.high));
  return octet;
}

void Store(const Octet& octet, std::uint8_t* bytes) {
  std::memcpy(bytes, &octet.low, sizeof(octet.low));
  std::memcpy(bytes + sizeof(octet.low), &octet.high, sizeof(octet.high));
}

// With the top bits set aside no carry, and with them set no borrow, leaves its element; the top
// bits themselves add without carry.
template <bool kIsSubtracted>
Octet Combine(const Octet& a, const Octet& b) {
  Octet result;
  if constexpr (kIsSubtracted) {
    const Uint128 a_low = a.low | kTopLow;
    const Uint128 b_low = b.low & ~kTopLow;
    result.low = a_low - b_low;
    const std::uint64_t borrow = a_low < b_low ? 1 : 0;
    result.high = (a.high | kTopHigh) - (b.high & ~kTopHigh) - borrow;
    result.low ^= (a.low ^ ~b.low) & kTopLow;
    result.high ^= (a.high ^ ~b.high) & kTopHigh;
  } else {
    const Uint128 a_low = a.low & ~kTopLow;
    result.low = a_low + (b.low & ~kTopLow);
    const std::uint64_t carry = result.low < a_low ? 1 : 0;
    result.high = (a.high & ~kTopHigh) + (b.high & ~kTopHigh) + carry;
    result.low ^= (a.low ^ b.low) & kTopLow;
    result.high ^= (a.high ^ b.high) & kTopHigh;
  }
  return result;
}

template <bool kIsSubtracted>
void AddTriples(Operands operands) {
  while (operands.size >= kOctetBytes) {
    Store(Combine<kIsSubtracted>(Load(operands.out), Load(operands.addend)), operands.out);
    operands.addend += kOctetBytes;
    operands.out += kOctetBytes;
    operands.size -= kOctetBytes;
  }
  std::uint8_t addend[kOctetBytes] = {};
  std::uint8_t out[kOctetBytes] = {};
  std::memcpy(addend, operands.addend, operands.size);
  std::memcpy(out, operands.out, operands.size);
  Store(Combine<kIsSubtracted>(Load(out), Load(addend)), out);
  std::memcpy(operands.out, out, operands.size);
}

template <bool kIsSubtracted>
[[gnu::always_inline]] inline void AddBody(RingBits bits, const Operands& operands) {
  switch (bits) {
    case RingBits::k16:
      return AddWords<std::uint16_t, kIsSubtracted>(operands);
    case RingBits::k24:
      return AddTriples<kIsSubtracted>(operands);
    case RingBits::k32:
      return AddWords<std::uint32_t, kIsSubtracted>(operands);
    case RingBits::k64:
      return AddWords<std::uint64_t, kIsSubtracted>(operands);
  }
}

using Add = void (*)(RingBits, bool, const Operands&);

void AddPortable(RingBits bits, bool is_subtracted, const Operands& operands) {
  is_subtracted ? AddBody<true>(bits, operands) : AddBody<false>(bits, operands);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void AddAvx2(RingBits bits, bool is_subtracted, const Operands& operands) {
  is_subtracted ? AddBody<true>(bits, operands) : AddBody<false>(bits, operands);
}

// Sixteen elements of 24 bits, each as the upper three bytes of a word of 32: nothing carries into
// the lowest byte, and what leaves the highest is lost.
[[gnu::target(CHORALE_AVX512)]] inline __m512i Spread(__m512i packed) {
  // Twelve bytes to each quarter of the register, then three to each word.
  const __m512i to_quarters = _mm512_set_epi32(0, 11, 10, 9, 0, 8, 7, 6, 0, 5, 4, 3, 0, 2, 1, 0);
  const __m512i to_words = _mm512_set4_epi32(0x0b0a09'80, 0x080706'80, 0x050403'80, 0x020100'80);
  return _mm512_shuffle_epi8(_mm512_maskz_permutexvar_epi32(0xffff, to_quarters, packed), to_words);
}

// Returns what is left.
template <bool kIsSubtracted>
[[gnu::target(CHORALE_AVX512)]] Operands AddManyTriples(Operands operands) {
  constexpr std::size_t kStepBytes = 48;
  const __m512i from_words = _mm512_set4_epi32(-1, 0x0f0e0d0b, 0x0a090706, 0x05030201);
  const __m512i from_quarters =
      _mm512_set_epi32(0, 0, 0, 0, 14, 13, 12, 10, 9, 8, 6, 5, 4, 2, 1, 0);
  // A register is read whole; its last quarter belongs to the next step.
  for (; operands.size >= 64; operands.size -= kStepBytes) {
    const __m512i a = Spread(_mm512_loadu_si512(operands.out));
    const __m512i b = Spread(_mm512_loadu_si512(operands.addend));
    const __m512i sum = kIsSubtracted ? _mm512_sub_epi32(a, b) : _mm512_add_epi32(a, b);
    const __m512i packed =
        _mm512_maskz_permutexvar_epi32(0xffff, from_quarters, _mm512_shuffle_epi8(sum, from_words));
    // In two: stores under a mask are slow.
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(operands.out),
                        _mm512_maskz_extracti64x4_epi64(0xf, packed, 0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(operands.out + 32),
                     _mm512_maskz_extracti32x4_epi32(0xf, packed, 2));
    operands.addend += kStepBytes;
    operands.out += kStepBytes;
  }
  // GCC 12 forgets this; without it OpenSSL's older instructions take twice as long afterwards.
  _mm256_zeroupper();
  return operands;
}

[[gnu::target(CHORALE_AVX512)]] void AddAvx512(RingBits bits, bool is_subtracted,
                                               const Operands& operands) {
  if (bits == RingBits::k24) {
    const Operands rest =
        is_subtracted ? AddManyTriples<true>(operands) : AddManyTriples<false>(operands);
    return is_subtracted ? AddTriples<true>(rest) : AddTriples<false>(rest);
  }
  is_subtracted ? AddBody<true>(bits, operands) : AddBody<false>(bits, operands);
}

Add ChooseAdd() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) return AddAvx512;
  return __builtin_cpu_supports("avx2") ? AddAvx2 : AddPortable;
}
#else
Add ChooseAdd() { return AddPortable; }
#endif

}  // namespace

void AddElements(RingBits bits, bool is_subtracted, const std::uint8_t* addend, std::uint8_t* out,
                 std::size_t size) {
  static const Add add = ChooseAdd();
  add(bits, is_subtracted, {addend, out, size});
}

}  // namespace chorale::secagg
