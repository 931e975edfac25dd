#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/status.h"

// What a masked vector looks like in memory and on the wire.
namespace chorale::secagg {

// A ring Z_2^b: addition wraps around. An element takes b / 8 bytes, little-endian.
enum class RingBits : std::uint8_t { k16 = 16, k24 = 24, k32 = 32, k64 = 64 };

[[nodiscard]] constexpr std::uint64_t ElementBytes(RingBits bits) {
  return static_cast<std::uint64_t>(bits) / 8;
}

// `count` elements of one ring, packed one behind the other.
struct Section {
  RingBits bits = RingBits::k32;
  std::uint64_t count = 0;
};

// One masked vector: its sections one behind the other, without gaps, in one index space. Byte i of
// the vector meets byte i of every mask, so that two sections never share a piece of a mask.
class VectorSpec {
 public:
  // What one mask key may cover.
  static constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 36;

  // INVALID_ARGUMENT without a section, for a section without elements or of an unknown ring, or
  // for more than 2^36 bytes in all.
  [[nodiscard]] static StatusOr<VectorSpec> Create(std::vector<Section> sections);

  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] const std::vector<Section>& sections() const { return sections_; }

  // A stretch of elements of one ring: bytes [begin, end) of the vector.
  struct Run {
    RingBits bits;
    std::uint64_t begin;
    std::uint64_t end;
  };
  // The runs that cover `size` bytes of the vector from `offset` on, in order. INVALID_ARGUMENT
  // beyond its end or where an element would be split.
  [[nodiscard]] StatusOr<std::vector<Run>> RunsOf(std::uint64_t offset, std::uint64_t size) const;

 private:
  VectorSpec(std::vector<Section> sections, std::uint64_t size_bytes)
      : sections_(std::move(sections)), size_bytes_(size_bytes) {}

  std::vector<Section> sections_;
  std::uint64_t size_bytes_;
};

// sum[e] += addend[e] in the ring of each element e. Both are the bytes of the vector that start at
// `offset_bytes` and have the same size. INVALID_ARGUMENT for unequal sizes, beyond the end of the
// vector, or where an element would be split; `sum` is then as before. REQUIRES: num_threads >= 1.
[[nodiscard]] Status AddVectors(const VectorSpec& spec, std::uint64_t offset_bytes, ByteSpan addend,
                                std::span<std::uint8_t> sum, int num_threads);

}  // namespace chorale::secagg
