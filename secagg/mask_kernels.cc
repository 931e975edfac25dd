#include "secagg/mask_kernels.h"

#include <algorithm>
#include <cstring>

#include "core/crypto/secret_bytes.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace chorale::secagg {

CounterKey::~CounterKey() {
  crypto::Wipe(table_);
  crypto::Wipe(round_keys_);
}

#if defined(__x86_64__)
namespace {

#define CHORALE_AES [[gnu::target("aes,ssse3")]]
#define CHORALE_VAES [[gnu::target("aes,ssse3,vaes,avx512f,avx512bw")]]

constexpr std::size_t kBlockBytes = 16;

// --- Key expansion (FIPS 197, section 5.2) ---

// The four words before, and the word that the schedule mixes in: each word is the one four before
// plus all that follow.
CHORALE_AES inline __m128i NextKey(__m128i key, __m128i mixed) {
  key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
  key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
  return _mm_xor_si128(key, mixed);
}

// RotWord, SubWord and the round's constant, of the last word; or SubWord alone.
template <int kConstant>
CHORALE_AES inline __m128i MixRotated(__m128i last) {
  return _mm_shuffle_epi32(_mm_aeskeygenassist_si128(last, kConstant), 0xff);
}
CHORALE_AES inline __m128i MixPlain(__m128i last) {
  return _mm_shuffle_epi32(_mm_aeskeygenassist_si128(last, 0), 0xaa);
}

CHORALE_AES void Expand128(const std::uint8_t* key, __m128i* keys) {
  keys[0] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key));
  keys[1] = NextKey(keys[0], MixRotated<0x01>(keys[0]));
  keys[2] = NextKey(keys[1], MixRotated<0x02>(keys[1]));
  keys[3] = NextKey(keys[2], MixRotated<0x04>(keys[2]));
  keys[4] = NextKey(keys[3], MixRotated<0x08>(keys[3]));
  keys[5] = NextKey(keys[4], MixRotated<0x10>(keys[4]));
  keys[6] = NextKey(keys[5], MixRotated<0x20>(keys[5]));
  keys[7] = NextKey(keys[6], MixRotated<0x40>(keys[6]));
  keys[8] = NextKey(keys[7], MixRotated<0x80>(keys[7]));
  keys[9] = NextKey(keys[8], MixRotated<0x1b>(keys[8]));
  keys[10] = NextKey(keys[9], MixRotated<0x36>(keys[9]));
}

template <int kConstant>
CHORALE_AES inline void ExpandTwo(__m128i* keys) {
  keys[2] = NextKey(keys[0], MixRotated<kConstant>(keys[1]));
  keys[3] = NextKey(keys[1], MixPlain(keys[2]));
}

CHORALE_AES void Expand256(const std::uint8_t* key, __m128i* keys) {
  keys[0] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key));
  keys[1] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key + kBlockBytes));
  ExpandTwo<0x01>(keys);
  ExpandTwo<0x02>(keys + 2);
  ExpandTwo<0x04>(keys + 4);
  ExpandTwo<0x08>(keys + 6);
  ExpandTwo<0x10>(keys + 8);
  ExpandTwo<0x20>(keys + 10);
  keys[14] = NextKey(keys[12], MixRotated<0x40>(keys[13]));
}

// --- One register of keystream, used ---

template <BlockUse kUse>
CHORALE_AES [[gnu::always_inline]] inline void Use(__m128i stream, std::uint8_t* out) {
  auto* const place = reinterpret_cast<__m128i*>(out);
  __m128i value = stream;
  if constexpr (kUse != BlockUse::kStore) {
    const __m128i old = _mm_loadu_si128(place);
    if constexpr (kUse == BlockUse::kAdd16) value = _mm_add_epi16(old, stream);
    if constexpr (kUse == BlockUse::kSubtract16) value = _mm_sub_epi16(old, stream);
    if constexpr (kUse == BlockUse::kAdd32) value = _mm_add_epi32(old, stream);
    if constexpr (kUse == BlockUse::kSubtract32) value = _mm_sub_epi32(old, stream);
    if constexpr (kUse == BlockUse::kAdd64) value = _mm_add_epi64(old, stream);
    if constexpr (kUse == BlockUse::kSubtract64) value = _mm_sub_epi64(old, stream);
  }
  _mm_storeu_si128(place, value);
}

template <BlockUse kUse>
CHORALE_VAES [[gnu::always_inline]] inline void Use(__m512i stream, std::uint8_t* out) {
  __m512i value = stream;
  if constexpr (kUse != BlockUse::kStore) {
    const __m512i old = _mm512_loadu_si512(out);
    if constexpr (kUse == BlockUse::kAdd16) value = _mm512_add_epi16(old, stream);
    if constexpr (kUse == BlockUse::kSubtract16) value = _mm512_sub_epi16(old, stream);
    if constexpr (kUse == BlockUse::kAdd32) value = _mm512_add_epi32(old, stream);
    if constexpr (kUse == BlockUse::kSubtract32) value = _mm512_sub_epi32(old, stream);
    if constexpr (kUse == BlockUse::kAdd64) value = _mm512_add_epi64(old, stream);
    if constexpr (kUse == BlockUse::kSubtract64) value = _mm512_sub_epi64(old, stream);
  }
  _mm512_storeu_si512(out, value);
}

// --- Blocks in groups that differ in the counter's last byte. Counters are big-endian and below
// 2^32: their upper twelve bytes are zero. ---

constexpr std::uint32_t kGroupBlocks = 256;
// Registers at once: an instruction takes several cycles, and the next one need not wait.
constexpr std::size_t kAtOnce = 8;

CHORALE_AES inline __m128i LoadKey(const std::uint8_t* round_keys, int round) {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(round_keys) + round);
}

CHORALE_AES inline __m128i TwoRounds(const std::uint8_t* round_keys, std::uint32_t block) {
  const __m128i counter = _mm_set_epi32(static_cast<int>(__builtin_bswap32(block)), 0, 0, 0);
  const __m128i state = _mm_xor_si128(counter, LoadKey(round_keys, 0));
  return _mm_aesenc_si128(_mm_aesenc_si128(state, LoadKey(round_keys, 1)), LoadKey(round_keys, 2));
}

CHORALE_AES void FillTableAesNi(const std::uint8_t* round_keys, std::uint8_t* table) {
  const __m128i zero = TwoRounds(round_keys, 0);
  for (std::uint32_t last = 0; last < kGroupBlocks; ++last) {
    _mm_store_si128(reinterpret_cast<__m128i*>(table) + last,
                    _mm_xor_si128(TwoRounds(round_keys, last), zero));
  }
}

// A group, or a part of one: `table` from its first counter on.
struct Group {
  const std::uint8_t* table;
  std::uint8_t* out;
  std::size_t num_blocks;
};

// `keys` are those of rounds 3, 4, ...
template <int kRounds, BlockUse kUse, std::size_t kCount>
CHORALE_AES [[gnu::always_inline]] inline void UseSome(const __m128i* keys, __m128i start,
                                                       Group& group) {
  __m128i state[kCount];
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto* const entry = reinterpret_cast<const __m128i*>(group.table) + i;
    state[i] = _mm_xor_si128(start, _mm_load_si128(entry));
  }
  for (int round = 0; round < kRounds - 3; ++round) {
    for (std::size_t i = 0; i < kCount; ++i) state[i] = _mm_aesenc_si128(state[i], keys[round]);
  }
  for (std::size_t i = 0; i < kCount; ++i) {
    Use<kUse>(_mm_aesenclast_si128(state[i], keys[kRounds - 3]), group.out + i * kBlockBytes);
  }
  group.table += kCount * kBlockBytes;
  group.out += kCount * kBlockBytes;
  group.num_blocks -= kCount;
}

template <int kRounds, BlockUse kUse>
CHORALE_AES void UseGroupAesNi(const std::uint8_t* round_keys, std::uint32_t first, Group group) {
  __m128i keys[kRounds - 2];
  for (int i = 0; i < kRounds - 2; ++i) keys[i] = LoadKey(round_keys, i + 3);
  const __m128i start = TwoRounds(round_keys, first);
  while (group.num_blocks >= kAtOnce) UseSome<kRounds, kUse, kAtOnce>(keys, start, group);
  while (group.num_blocks > 0) UseSome<kRounds, kUse, 1>(keys, start, group);
}

constexpr std::size_t kBlocksPerRegister = 4;
constexpr std::size_t kRegisterBytes = kBlocksPerRegister * kBlockBytes;

// Blocks before the next cache line; none where blocks straddle lines anyway.
std::size_t BlocksToALine(const std::uint8_t* out) {
  const std::uintptr_t place = reinterpret_cast<std::uintptr_t>(out) % 64;
  return place % kBlockBytes == 0 ? (64 - place) % 64 / kBlockBytes : 0;
}

// Without a mask, GCC 12 warns of its own header.
CHORALE_VAES inline __m512i Broadcast(__m128i block) {
  return _mm512_maskz_broadcast_i32x4(0xffff, block);
}

CHORALE_VAES void FillTableVaes(const std::uint8_t* round_keys, std::uint8_t* table) {
  const __m512i keys[3] = {Broadcast(LoadKey(round_keys, 0)), Broadcast(LoadKey(round_keys, 1)),
                           Broadcast(LoadKey(round_keys, 2))};
  const __m512i zero = Broadcast(TwoRounds(round_keys, 0));
  // The last byte of four counters.
  __m512i counters =
      _mm512_set_epi32(3 << 24, 0, 0, 0, 2 << 24, 0, 0, 0, 1 << 24, 0, 0, 0, 0, 0, 0, 0);
  const __m512i step = _mm512_maskz_set1_epi32(0x8888, kBlocksPerRegister << 24);
  for (std::uint32_t last = 0; last < kGroupBlocks; last += kBlocksPerRegister) {
    __m512i state = _mm512_xor_si512(counters, keys[0]);
    state = _mm512_aesenc_epi128(_mm512_aesenc_epi128(state, keys[1]), keys[2]);
    _mm512_store_si512(table + last * kBlockBytes, _mm512_xor_si512(state, zero));
    counters = _mm512_add_epi32(counters, step);
  }
}

// Registers that follow each other; `last` is the start of the last one, `start` of the others.
template <int kRounds, BlockUse kUse, std::size_t kCount>
CHORALE_VAES [[gnu::always_inline]] inline void UseSome(const __m512i* keys, __m512i start,
                                                        __m512i last, const std::uint8_t* table,
                                                        std::uint8_t* out) {
  __m512i state[kCount];
  for (std::size_t i = 0; i < kCount; ++i) {
    state[i] = _mm512_xor_si512(i + 1 < kCount ? start : last,
                                _mm512_loadu_si512(table + i * kRegisterBytes));
  }
  for (int round = 0; round < kRounds - 3; ++round) {
    for (std::size_t i = 0; i < kCount; ++i) {
      state[i] = _mm512_aesenc_epi128(state[i], keys[round]);
    }
  }
  for (std::size_t i = 0; i < kCount; ++i) {
    Use<kUse>(_mm512_aesenclast_epi128(state[i], keys[kRounds - 3]), out + i * kRegisterBytes);
  }
}

// Whole registers of blocks, from any block on: a register that begins in one group and ends in the
// next has a start of each.
template <int kRounds, BlockUse kUse>
CHORALE_VAES void UseRegistersVaes(const CounterKey& key, std::uint32_t block, std::uint8_t* out,
                                   std::size_t num_registers) {
  __m512i keys[kRounds - 2];
  for (int i = 0; i < kRounds - 2; ++i) keys[i] = Broadcast(LoadKey(key.round_keys(), i + 3));
  std::uint32_t at = block % kGroupBlocks;
  std::uint32_t first = block - at;
  __m512i start = Broadcast(TwoRounds(key.round_keys(), first));
  while (num_registers > 0) {
    std::size_t left = std::min<std::size_t>(
        num_registers, (kGroupBlocks - at + kBlocksPerRegister - 1) / kBlocksPerRegister);
    num_registers -= left;
    const std::size_t end = at + left * kBlocksPerRegister;
    const std::size_t num_beyond = end > kGroupBlocks ? end - kGroupBlocks : 0;
    first += kGroupBlocks;
    const __m512i next = Broadcast(TwoRounds(key.round_keys(), first));
    // Two words of 64 bits a block.
    const auto beyond = static_cast<__mmask8>(0xff << 2 * (kBlocksPerRegister - num_beyond));
    const __m512i last = _mm512_mask_blend_epi64(beyond, start, next);
    const std::uint8_t* table = key.table() + at * kBlockBytes;
    for (; left > kAtOnce; left -= kAtOnce) {
      UseSome<kRounds, kUse, kAtOnce>(keys, start, start, table, out);
      table += kAtOnce * kRegisterBytes;
      out += kAtOnce * kRegisterBytes;
    }
    if (left == kAtOnce) {
      UseSome<kRounds, kUse, kAtOnce>(keys, start, last, table, out);
      out += kAtOnce * kRegisterBytes;
    } else {
      for (; left > 0; --left) {
        UseSome<kRounds, kUse, 1>(keys, start, left == 1 ? last : start, table, out);
        table += kRegisterBytes;
        out += kRegisterBytes;
      }
    }
    at = static_cast<std::uint32_t>(num_beyond);
    start = next;
  }
  // GCC 12 forgets this; without it OpenSSL's older instructions take twice as long afterwards.
  _mm256_zeroupper();
}

// `first` is the group's first counter, also of a part of it.
using UseGroup = void (*)(const std::uint8_t* round_keys, std::uint32_t first, Group group);

template <int kRounds>
UseGroup AesNiFor(BlockUse use) {
  switch (use) {
    case BlockUse::kStore:
      return UseGroupAesNi<kRounds, BlockUse::kStore>;
    case BlockUse::kAdd16:
      return UseGroupAesNi<kRounds, BlockUse::kAdd16>;
    case BlockUse::kSubtract16:
      return UseGroupAesNi<kRounds, BlockUse::kSubtract16>;
    case BlockUse::kAdd32:
      return UseGroupAesNi<kRounds, BlockUse::kAdd32>;
    case BlockUse::kSubtract32:
      return UseGroupAesNi<kRounds, BlockUse::kSubtract32>;
    case BlockUse::kAdd64:
      return UseGroupAesNi<kRounds, BlockUse::kAdd64>;
    case BlockUse::kSubtract64:
      return UseGroupAesNi<kRounds, BlockUse::kSubtract64>;
  }
  return nullptr;
}

using UseRegisters = void (*)(const CounterKey& key, std::uint32_t block, std::uint8_t* out,
                              std::size_t num_registers);

template <int kRounds>
UseRegisters VaesFor(BlockUse use) {
  switch (use) {
    case BlockUse::kStore:
      return UseRegistersVaes<kRounds, BlockUse::kStore>;
    case BlockUse::kAdd16:
      return UseRegistersVaes<kRounds, BlockUse::kAdd16>;
    case BlockUse::kSubtract16:
      return UseRegistersVaes<kRounds, BlockUse::kSubtract16>;
    case BlockUse::kAdd32:
      return UseRegistersVaes<kRounds, BlockUse::kAdd32>;
    case BlockUse::kSubtract32:
      return UseRegistersVaes<kRounds, BlockUse::kSubtract32>;
    case BlockUse::kAdd64:
      return UseRegistersVaes<kRounds, BlockUse::kAdd64>;
    case BlockUse::kSubtract64:
      return UseRegistersVaes<kRounds, BlockUse::kSubtract64>;
  }
  return nullptr;
}

void UseBlocks(UseGroup use_group, const CounterKey& key, std::uint64_t first_block,
               std::uint8_t* out, std::size_t num_blocks) {
  auto block = static_cast<std::uint32_t>(first_block);
  while (num_blocks > 0) {
    const std::uint32_t last_byte = block % kGroupBlocks;
    const std::size_t count = std::min<std::size_t>(num_blocks, kGroupBlocks - last_byte);
    use_group(key.round_keys(), block - last_byte,
              {key.table() + last_byte * kBlockBytes, out, count});
    block += static_cast<std::uint32_t>(count);
    out += count * kBlockBytes;
    num_blocks -= count;
  }
}

}  // namespace

void CounterKey::Set(ByteSpan key) {
  num_rounds_ = key.size() == 16 ? 10 : 14;
  auto* const keys = reinterpret_cast<__m128i*>(round_keys_.data());
  num_rounds_ == 10 ? Expand128(key.data(), keys) : Expand256(key.data(), keys);
  HasVaes() ? FillTableVaes(round_keys_.data(), table_.data())
            : FillTableAesNi(round_keys_.data(), table_.data());
  std::copy_n(table_.begin(), kWrapBytes, table_.begin() + kGroupBlocks * kBlockBytes);
}

bool HasAesNi() {
  static const bool has = __builtin_cpu_supports("aes") && __builtin_cpu_supports("ssse3");
  return has;
}

bool HasVaes() {
  // The compiler's question covers the operating system's part in AVX-512; Clang 14 cannot ask for
  // VAES, which is bit 9 of ecx in leaf 7.
  static const bool has =
      HasAesNi() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && [] {
        unsigned a = 0, b = 0, c = 0, d = 0;
        return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c >> 9 & 1) != 0;
      }();
  return has;
}

void UseBlocksAesNi(const CounterKey& key, BlockUse use, std::uint64_t first_block,
                    std::uint8_t* out, std::size_t num_blocks) {
  UseBlocks(key.num_rounds() == 10 ? AesNiFor<10>(use) : AesNiFor<14>(use), key, first_block, out,
            num_blocks);
}

void UseBlocksVaes(const CounterKey& key, BlockUse use, std::uint64_t first_block,
                   std::uint8_t* out, std::size_t num_blocks) {
  // Stores that straddle two cache lines take twice as long.
  const std::size_t num_ahead = std::min(BlocksToALine(out), num_blocks);
  const std::size_t num_registers = (num_blocks - num_ahead) / kBlocksPerRegister;
  const std::size_t num_before_rest = num_ahead + num_registers * kBlocksPerRegister;
  UseBlocksAesNi(key, use, first_block, out, num_ahead);
  const UseRegisters use_registers = key.num_rounds() == 10 ? VaesFor<10>(use) : VaesFor<14>(use);
  use_registers(key, static_cast<std::uint32_t>(first_block + num_ahead),
                out + num_ahead * kBlockBytes, num_registers);
  UseBlocksAesNi(key, use, first_block + num_before_rest, out + num_before_rest * kBlockBytes,
                 num_blocks - num_before_rest);
}

#else  // Not x86-64: nobody calls these.

void CounterKey::Set(ByteSpan) {}
bool HasAesNi() { return false; }
bool HasVaes() { return false; }
void UseBlocksAesNi(const CounterKey&, BlockUse, std::uint64_t, std::uint8_t*, std::size_t) {}
void UseBlocksVaes(const CounterKey&, BlockUse, std::uint64_t, std::uint8_t*, std::size_t) {}

#endif

}  // namespace chorale::secagg
