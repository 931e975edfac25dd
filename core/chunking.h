#pragma once

#include <cstdint>

namespace chorale {

// Every blob travels and is hashed in chunks of this size; the last may be shorter.
inline constexpr std::uint64_t kChunkBytes = 1u << 20;

struct ChunkRange {
  std::uint64_t offset_bytes;
  std::uint64_t size_bytes;
};

// How many chunks a blob of `size_bytes` has. An empty blob has none.
[[nodiscard]] constexpr std::uint64_t NumChunks(std::uint64_t size_bytes) {
  return size_bytes / kChunkBytes + (size_bytes % kChunkBytes != 0 ? 1 : 0);
}

// REQUIRES: index < NumChunks(size_bytes).
[[nodiscard]] constexpr ChunkRange ChunkAt(std::uint64_t size_bytes, std::uint64_t index) {
  const std::uint64_t offset = index * kChunkBytes;
  return {offset, size_bytes - offset < kChunkBytes ? size_bytes - offset : kChunkBytes};
}

}  // namespace chorale
