// Frames of two length bytes (little-endian) each: a BlobDescriptor, then chunks as a peer sends
// them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "chorale/v1/transfer.pb.h"
#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/rpc/chunks.h"

namespace {

std::optional<std::string> NextFrame(chorale::ByteSpan& rest) {
  if (rest.size() < 2) return std::nullopt;
  const std::size_t size = rest[0] | static_cast<std::size_t>(rest[1]) << 8;
  rest = rest.subspan(2);
  if (rest.size() < size) return std::nullopt;
  std::string frame = chorale::ToString(rest.first(size));
  rest = rest.subspan(size);
  return frame;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chorale::ByteSpan rest(data, size);
  const std::optional<std::string> first = NextFrame(rest);
  chorale::v1::BlobDescriptor descriptor;
  if (!first || !descriptor.ParseFromString(*first)) return 0;
  const chorale::StatusOr<chorale::crypto::BlobId> expected = chorale::rpc::FromProto(descriptor);
  if (!expected.ok()) return 0;

  chorale::rpc::ChunkReceiver receiver(*expected);
  std::string received;
  while (const std::optional<std::string> frame = NextFrame(rest)) {
    chorale::v1::Chunk chunk;
    if (!chunk.ParseFromString(*frame)) continue;
    if (receiver.Accept(chunk).ok()) received += chunk.data();
    if (receiver.received_bytes() != received.size()) std::abort();
    if (received.size() > expected->size_bytes) std::abort();
  }
  // What is accepted as a whole is the blob that was named, and nothing else is.
  const bool is_blob = chorale::crypto::IdentifyBlob(chorale::AsBytes(received)) == *expected;
  if (receiver.Finish().ok() != is_blob) std::abort();
  return 0;
}
