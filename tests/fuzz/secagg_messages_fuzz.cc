// Every message of secure aggregation: the first byte says which, the rest is its body.
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "core/bytes.h"
#include "core/status.h"
#include "secagg/messages.h"
#include "secagg/round_messages.h"
#include "secagg/session_terms.h"
#include "secagg/setup_messages.h"

namespace {

using chorale::Bytes;
using chorale::ByteSpan;
using chorale::StatusOr;
using namespace chorale::secagg;  // NOLINT

// What was decoded can be written, and reads as the same again.
template <typename Content>
void CheckRoundTrip(ByteSpan body, StatusOr<Content> (*decode)(ByteSpan)) {
  const StatusOr<Content> content = decode(body);
  if (!content.ok()) {
    if (content.status().message().empty()) std::abort();
    return;
  }
  const Bytes encoded = Encode(*content);
  const StatusOr<Content> again = decode(encoded);
  if (!again.ok() || Encode(*again) != encoded) std::abort();
}

void CheckManifest(ByteSpan body) {
  const auto manifest = DecodeManifest(body);
  if (!manifest.ok()) return;
  const auto terms = DecodeTerms(*manifest, {});
  if (terms.ok() && (terms->members.size() != terms->num_members() || terms->num_rounds == 0 ||
                     terms->share_threshold() == 0 || terms->not_after <= terms->created_at)) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const google::protobuf::LogSilencer silencer;
  if (size == 0) return 0;
  const auto kind = static_cast<MessageKind>(1 + data[0] % 13);
  const ByteSpan body(data + 1, size - 1);
  if (IsSigned(kind)) {
    const auto parts = SplitMessage(kind, body);
    if (parts.ok() && (parts->signature.size() != 64 || parts->body.size() > body.size())) {
      std::abort();
    }
  }
  switch (kind) {
    case MessageKind::kSessionManifest:
      CheckManifest(body);
      break;
    case MessageKind::kAdvertiseKeys:
      CheckRoundTrip(body, DecodeAdvertiseKeys);
      break;
    case MessageKind::kKeyDirectory:
      if (const auto messages = DecodeKeyDirectory(body); messages.ok()) {
        const Bytes encoded = EncodeKeyDirectory(*messages);
        const auto again = DecodeKeyDirectory(encoded);
        if (!again.ok() || again->size() != messages->size()) std::abort();
      }
      break;
    case MessageKind::kShareKeys:
      CheckRoundTrip(body, DecodeShareKeys);
      break;
    case MessageKind::kShareDelivery:
      CheckRoundTrip(body, DecodeShareDelivery);
      break;
    case MessageKind::kShareKeysAck:
      CheckRoundTrip(body, DecodeShareKeysAck);
      break;
    case MessageKind::kRoundStart:
      CheckRoundTrip(body, DecodeRoundStart);
      break;
    case MessageKind::kMaskedInput:
      CheckRoundTrip(body, DecodeMaskedInput);
      break;
    case MessageKind::kSurvivors:
      CheckRoundTrip(body, DecodeSurvivors);
      break;
    case MessageKind::kConsistencySignature:
      CheckRoundTrip(body, DecodeConsistencySignature);
      break;
    case MessageKind::kConsistencySignatures:
      if (const auto collected = DecodeConsistencySignatures(body);
          collected.ok() && collected->messages.size() > 1000) {
        std::abort();
      }
      break;
    case MessageKind::kUnmasking:
      CheckRoundTrip(body, DecodeUnmasking);
      break;
    case MessageKind::kRoundResult:
      CheckRoundTrip(body, DecodeRoundResult);
      break;
  }
  return 0;
}
