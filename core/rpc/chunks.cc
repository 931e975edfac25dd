#include "core/rpc/chunks.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/chunking.h"
#include "core/crypto/digest.h"

namespace chorale::rpc {
namespace {

Status Refuse(std::string_view field, std::uint64_t expected, std::uint64_t got) {
  return InvalidArgument("chunk." + std::string(field) + " must be " + std::to_string(expected) +
                         ", got " + std::to_string(got));
}

// Adds the digest and hands the chunk over.
Status SendChunk(v1::Chunk&& chunk, const std::function<bool(v1::Chunk&&)>& write) {
  const crypto::Digest digest = crypto::Sha256(AsBytes(chunk.data()));
  chunk.set_sha256(digest.data(), digest.size());
  if (!write(std::move(chunk))) return Unavailable("the peer stopped receiving");
  return OkStatus();
}

}  // namespace

v1::BlobDescriptor ToProto(const crypto::BlobId& id) {
  v1::BlobDescriptor descriptor;
  descriptor.set_size_bytes(id.size_bytes);
  descriptor.set_digest(id.digest.data(), id.digest.size());
  return descriptor;
}

StatusOr<crypto::BlobId> FromProto(const v1::BlobDescriptor& descriptor) {
  if (descriptor.digest().size() != crypto::kDigestBytes) {
    return InvalidArgument("blob.digest must have " + std::to_string(crypto::kDigestBytes) +
                           " bytes, got " + std::to_string(descriptor.digest().size()));
  }
  crypto::BlobId id{.size_bytes = descriptor.size_bytes(), .digest = {}};
  std::copy(descriptor.digest().begin(), descriptor.digest().end(), id.digest.begin());
  return id;
}

Status SendBlob(const storage::BlobReader& blob, std::uint64_t offset_bytes,
                const std::function<bool(v1::Chunk&&)>& write) {
  if (offset_bytes % kChunkBytes != 0 || offset_bytes > blob.size_bytes()) {
    return InvalidArgument("offset_bytes must be a multiple of " + std::to_string(kChunkBytes) +
                           " in [0, " + std::to_string(blob.size_bytes()) + "], got " +
                           std::to_string(offset_bytes));
  }
  const std::uint64_t num_chunks = NumChunks(blob.size_bytes());
  for (std::uint64_t index = offset_bytes / kChunkBytes; index < num_chunks; ++index) {
    const ChunkRange range = ChunkAt(blob.size_bytes(), index);
    v1::Chunk chunk;
    chunk.set_offset_bytes(range.offset_bytes);
    std::string& data = *chunk.mutable_data();
    data.resize(range.size_bytes);
    CHORALE_RETURN_IF_ERROR(blob.ReadAt(
        range.offset_bytes, {reinterpret_cast<std::uint8_t*>(data.data()), data.size()}));
    CHORALE_RETURN_IF_ERROR(SendChunk(std::move(chunk), write));
  }
  return OkStatus();
}

Status SendBytes(ByteSpan bytes, const std::function<bool(v1::Chunk&&)>& write,
                 std::uint64_t offset_bytes) {
  const std::uint64_t num_chunks = NumChunks(bytes.size());
  for (std::uint64_t index = offset_bytes / kChunkBytes; index < num_chunks; ++index) {
    const ChunkRange range = ChunkAt(bytes.size(), index);
    v1::Chunk chunk;
    chunk.set_offset_bytes(range.offset_bytes);
    chunk.set_data(bytes.data() + range.offset_bytes, range.size_bytes);
    CHORALE_RETURN_IF_ERROR(SendChunk(std::move(chunk), write));
  }
  return OkStatus();
}

Status ChunkReceiver::Accept(const v1::Chunk& chunk) {
  const std::uint64_t received = received_bytes();
  if (received >= expected_.size_bytes) {
    return InvalidArgument("a chunk after the last of the blob's " +
                           std::to_string(expected_.size_bytes) + " bytes");
  }
  if (chunk.offset_bytes() != received) {
    return Refuse("offset_bytes", received, chunk.offset_bytes());
  }
  // Whole chunks only came before, so this one begins a chunk.
  const ChunkRange range = ChunkAt(expected_.size_bytes, received / kChunkBytes);
  if (chunk.data().size() != range.size_bytes) {
    return Refuse("data's size in bytes", range.size_bytes, chunk.data().size());
  }
  if (chunk.sha256().size() != crypto::kDigestBytes) {
    return Refuse("sha256's size in bytes", crypto::kDigestBytes, chunk.sha256().size());
  }
  const crypto::Digest digest = crypto::Sha256(AsBytes(chunk.data()));
  if (!std::ranges::equal(digest, AsBytes(chunk.sha256()))) {
    return DataLoss("the chunk at " + std::to_string(received) + " does not fit its digest");
  }
  hasher_.AddChunk(digest, chunk.data().size());
  return OkStatus();
}

Status ChunkReceiver::Finish() const {
  if (received_bytes() != expected_.size_bytes) {
    return DataLoss("the blob ended after " + std::to_string(received_bytes()) + " of " +
                    std::to_string(expected_.size_bytes) + " bytes");
  }
  if (hasher_.Finish() != expected_) {
    return DataLoss("the chunks are not those of blob " + ToHex(expected_.digest));
  }
  return OkStatus();
}

}  // namespace chorale::rpc
