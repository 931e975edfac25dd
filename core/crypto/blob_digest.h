#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/crypto/digest.h"

namespace chorale::crypto {

// Names a blob: its size and SHA-256("chorale/v1/blob" || 0x00 || size (8 bytes, big-endian) ||
// SHA-256 of each chunk). Chunks are core/chunking.h's, so that a transfer can be checked and
// resumed chunk by chunk.
struct BlobId {
  std::uint64_t size_bytes = 0;
  Digest digest{};
  friend bool operator==(const BlobId&, const BlobId&) = default;
};

// Collects the digests of chunks that come in order. Not thread-safe.
class BlobHasher {
 public:
  // REQUIRES: every chunk but the last has kChunkBytes.
  void AddChunk(const Digest& chunk_sha256, std::uint64_t chunk_bytes);
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] BlobId Finish() const;

 private:
  std::uint64_t size_bytes_ = 0;
  std::vector<Digest> chunks_;
};

// The whole blob in memory at once.
[[nodiscard]] BlobId IdentifyBlob(std::span<const std::uint8_t> bytes);

}  // namespace chorale::crypto
