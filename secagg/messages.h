#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/crypto/signature.h"
#include "core/status.h"

// The kinds of message and how they are signed. setup_messages.h and round_messages.h have their
// content.
namespace chorale::secagg {

enum class MessageKind : std::uint8_t {
  kSessionManifest = 1,    // Coordinator, signed.
  kAdvertiseKeys,          // Site, signed.
  kKeyDirectory,           // Coordinator; the parts are signed.
  kShareKeys,              // Site, signed.
  kShareDelivery,          // Coordinator; sealed by the dealers.
  kShareKeysAck,           // Site, signed.
  kRoundStart,             // Coordinator, signed.
  kMaskedInput,            // Site, signed; the vector follows outside of the message.
  kSurvivors,              // Coordinator, signed.
  kConsistencySignature,   // Site, signed.
  kConsistencySignatures,  // Coordinator; the parts are signed.
  kUnmasking,              // Site, signed.
  kRoundResult,            // Coordinator, signed.
};

// "AdvertiseKeys" and so on: as in secagg.proto, and part of what is signed.
[[nodiscard]] std::string_view NameOf(MessageKind kind);
// No message of this kind is larger: for the transport, and checked before anything is decoded.
[[nodiscard]] std::size_t MaxBytes(MessageKind kind);
// True for what travels as a SignedMessage.
[[nodiscard]] bool IsSigned(MessageKind kind);

// SignedMessage(body). REQUIRES: IsSigned(kind).
[[nodiscard]] Bytes SignMessage(MessageKind kind, ByteSpan body, const crypto::SigningKey& key);

// A SignedMessage taken apart: body and signature lie within the message.
struct SignedParts {
  ByteSpan body;
  ByteSpan signature;  // 64 bytes.
};
// Refuses (MALFORMED) what is larger than the kind, or is not exactly the two fields of a
// SignedMessage in their order. Nothing is verified. REQUIRES: IsSigned(kind).
[[nodiscard]] StatusOr<SignedParts> SplitMessage(MessageKind kind, ByteSpan message);

// The body of a message that `key` signed. Refuses as SplitMessage does, and (BAD_SIGNATURE) when
// the signature does not fit. The result lies within `message`.
[[nodiscard]] StatusOr<ByteSpan> OpenMessage(MessageKind kind, ByteSpan message,
                                             const crypto::SigningPublicKey& key);

}  // namespace chorale::secagg
