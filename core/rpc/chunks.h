#pragma once

#include <functional>

#include "chorale/v1/transfer.pb.h"
#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/status.h"
#include "core/storage/blob_store.h"

// Blobs on the wire, whatever the call that carries them.
namespace chorale::rpc {

[[nodiscard]] v1::BlobDescriptor ToProto(const crypto::BlobId& id);
// INVALID_ARGUMENT unless the digest has 32 bytes.
[[nodiscard]] StatusOr<crypto::BlobId> FromProto(const v1::BlobDescriptor& descriptor);

// Sends a blob from `offset_bytes` (a multiple of kChunkBytes) on, chunk by chunk. `write` returns
// false when the peer is gone: UNAVAILABLE.
[[nodiscard]] Status SendBlob(const storage::BlobReader& blob, std::uint64_t offset_bytes,
                              const std::function<bool(v1::Chunk&&)>& write);
[[nodiscard]] Status SendBytes(ByteSpan bytes, const std::function<bool(v1::Chunk&&)>& write,
                               std::uint64_t offset_bytes = 0);

// Checks chunks as they come: order, size, digest, total. A peer's fault is INVALID_ARGUMENT or
// DATA_LOSS, never a crash.
class ChunkReceiver {
 public:
  explicit ChunkReceiver(const crypto::BlobId& expected) : expected_(expected) {}
  // Checks one chunk; the caller stores chunk.data() when this returns OK.
  [[nodiscard]] Status Accept(const v1::Chunk& chunk);
  // DATA_LOSS unless every byte came and the whole has the expected digest.
  [[nodiscard]] Status Finish() const;
  [[nodiscard]] std::uint64_t received_bytes() const { return hasher_.size_bytes(); }
  [[nodiscard]] const crypto::BlobId& expected() const { return expected_; }

 private:
  crypto::BlobId expected_;
  crypto::BlobHasher hasher_;
};

}  // namespace chorale::rpc
