#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/bytes.h"

// Private to this folder: AES-CTR keystreams by the processor's own instructions, added to a vector
// as they come. x86-64 only; elsewhere nothing here is supported.
namespace chorale::secagg {

// What happens to a keystream block.
enum class BlockUse {
  kStore,  // Overwrites.
  kAdd16,
  kSubtract16,
  kAdd32,
  kSubtract32,
  kAdd64,
  kSubtract64,
};

// A key made ready for counter mode, wiped on destruction.
//
// The counter's last byte c takes part in one column after the first round and in one byte of each
// column within the second, whose last steps are linear: what two rounds make of a counter (h, c)
// is two(h, 0) + (two(0, c) + two(0, 0)), + being exclusive or. The 256 sums in brackets are
// computed once, so that two of ten rounds cost one addition (Park and Lee, "FACE", CHES 2018).
class CounterKey {
 public:
  static constexpr std::size_t kMaxRoundKeyBytes = 15 * 16;
  // The table's first entries stand behind its last, for registers that end in the next group.
  static constexpr std::size_t kWrapBytes = 3 * 16;
  static constexpr std::size_t kTableBytes = 256 * 16 + kWrapBytes;

  CounterKey() = default;
  CounterKey(const CounterKey&) = delete;
  CounterKey& operator=(const CounterKey&) = delete;
  ~CounterKey();

  // REQUIRES: HasAesNi(); 16 or 32 bytes.
  void Set(ByteSpan key);

  // The keys of all rounds (FIPS 197).
  [[nodiscard]] const std::uint8_t* round_keys() const { return round_keys_.data(); }
  // What two rounds make of the last byte.
  [[nodiscard]] const std::uint8_t* table() const { return table_.data(); }
  // 10 or 14.
  [[nodiscard]] int num_rounds() const { return num_rounds_; }

 private:
  alignas(64) std::array<std::uint8_t, kTableBytes> table_{};
  alignas(64) std::array<std::uint8_t, kMaxRoundKeyBytes> round_keys_{};
  int num_rounds_ = 10;
};

// Asked once of the processor.
[[nodiscard]] bool HasAesNi();
[[nodiscard]] bool HasVaes();

// Uses keystream blocks first_block, first_block + 1, ... on the `num_blocks` * 16 bytes at `out`,
// which need no alignment. REQUIRES: HasAesNi() or HasVaes(); first_block + num_blocks <= 2^32.
void UseBlocksAesNi(const CounterKey& key, BlockUse use, std::uint64_t first_block,
                    std::uint8_t* out, std::size_t num_blocks);
void UseBlocksVaes(const CounterKey& key, BlockUse use, std::uint64_t first_block,
                   std::uint8_t* out, std::size_t num_blocks);

}  // namespace chorale::secagg
