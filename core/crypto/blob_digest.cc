#include "core/crypto/blob_digest.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/bytes.h"
#include "core/chunking.h"

namespace chorale::crypto {

void BlobHasher::AddChunk(const Digest& chunk_sha256, std::uint64_t chunk_bytes) {
  chunks_.push_back(chunk_sha256);
  size_bytes_ += chunk_bytes;
}

BlobId BlobHasher::Finish() const {
  static constexpr std::string_view kDomain("chorale/v1/blob\0", 16);
  std::array<std::uint8_t, 8> size;  // Big-endian.
  for (std::size_t i = 0; i < size.size(); ++i) {
    size[i] = static_cast<std::uint8_t>(size_bytes_ >> (8 * (size.size() - 1 - i)));
  }
  Sha256Hasher hasher;
  hasher.Update(chorale::AsBytes(kDomain));
  hasher.Update(size);
  for (const Digest& chunk : chunks_) hasher.Update(chunk);
  return {.size_bytes = size_bytes_, .digest = std::move(hasher).Finish()};
}

BlobId IdentifyBlob(std::span<const std::uint8_t> bytes) {
  BlobHasher hasher;
  for (std::uint64_t index = 0; index < NumChunks(bytes.size()); ++index) {
    const ChunkRange range = ChunkAt(bytes.size(), index);
    hasher.AddChunk(Sha256(bytes.subspan(range.offset_bytes, range.size_bytes)), range.size_bytes);
  }
  return hasher.Finish();
}

}  // namespace chorale::crypto
