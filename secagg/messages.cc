#include "secagg/messages.h"

#include <array>
#include <string>

#include "secagg/refusal.h"
#include "secagg/wire_scan.h"

namespace chorale::secagg {
namespace {

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;
constexpr std::uint8_t kBodyTag = 0x0a;       // Field 1, length-delimited.
constexpr std::uint8_t kSignatureTag = 0x12;  // Field 2, length-delimited.

struct Kind {
  std::string_view name;
  std::size_t max_bytes;
  bool is_signed;
};

// By value of MessageKind, from 1. The sizes hold 1000 members and 100 rounds.
constexpr std::array kKinds = {
    Kind{"SessionManifest", 4 * kMiB, true},
    Kind{"AdvertiseKeys", 8 * kKiB, true},
    Kind{"KeyDirectory", 9 * kMiB, false},
    Kind{"ShareKeys", 10 * kMiB, true},
    Kind{"ShareDelivery", 10 * kMiB, false},
    Kind{"ShareKeysAck", 8 * kKiB, true},
    Kind{"RoundStart", 8 * kKiB, true},
    Kind{"MaskedInput", kKiB, true},
    Kind{"Survivors", 8 * kKiB, true},
    Kind{"ConsistencySignature", kKiB, true},
    Kind{"ConsistencySignatures", 512 * kKiB, false},
    Kind{"Unmasking", 64 * kKiB, true},
    Kind{"RoundResult", 64 * kKiB, true},
};

const Kind& KindOf(MessageKind kind) { return kKinds.at(static_cast<std::size_t>(kind) - 1); }

// Domain separation as in TLS 1.3 (RFC 8446, section 4.4.3).
std::string SigningDomain(MessageKind kind) {
  return std::string(64, ' ') + "fl-secagg/v1 " + std::string(NameOf(kind));
}

void AppendVarint(std::size_t value, Bytes& out) {
  while (value >= 0x80) {
    out.push_back(static_cast<std::uint8_t>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<std::uint8_t>(value));
}

Status NotSigned(MessageKind kind) {
  return Refused(RefusalCode::kMalformed,
                 std::string(NameOf(kind)) + " must be a body and a signature of 64 bytes");
}

}  // namespace

std::string_view NameOf(MessageKind kind) { return KindOf(kind).name; }
std::size_t MaxBytes(MessageKind kind) { return KindOf(kind).max_bytes; }
bool IsSigned(MessageKind kind) { return KindOf(kind).is_signed; }

Bytes SignMessage(MessageKind kind, ByteSpan body, const crypto::SigningKey& key) {
  const crypto::Signature signature = key.Sign(SigningDomain(kind), body);
  Bytes message;
  message.reserve(body.size() + signature.size() + 16);
  message.push_back(kBodyTag);
  AppendVarint(body.size(), message);
  message.insert(message.end(), body.begin(), body.end());
  message.push_back(kSignatureTag);
  AppendVarint(signature.size(), message);
  message.insert(message.end(), signature.begin(), signature.end());
  return message;
}

StatusOr<SignedParts> SplitMessage(MessageKind kind, ByteSpan message) {
  if (message.size() > MaxBytes(kind)) {
    return Refused(RefusalCode::kMalformed, std::string(NameOf(kind)) + " must have at most " +
                                                std::to_string(MaxBytes(kind)) + " bytes, got " +
                                                std::to_string(message.size()));
  }
  WireReader reader(message);
  const StatusOr<WireField> body = reader.Next();
  if (!body.ok() || message.front() != kBodyTag) return NotSigned(kind);
  const StatusOr<WireField> signature = reader.Next();
  if (!signature.ok() || !reader.IsAtEnd() || signature->number != 2 || signature->wire_type != 2 ||
      signature->content.size() != crypto::kSignatureBytes) {
    return NotSigned(kind);
  }
  return SignedParts{.body = body->content, .signature = signature->content};
}

StatusOr<ByteSpan> OpenMessage(MessageKind kind, ByteSpan message,
                               const crypto::SigningPublicKey& key) {
  CHORALE_ASSIGN_OR_RETURN(const SignedParts parts, SplitMessage(kind, message));
  if (!crypto::VerifySignature(key, SigningDomain(kind), parts.body, parts.signature).ok()) {
    return Refused(RefusalCode::kBadSignature,
                   "the signature under " + std::string(NameOf(kind)) + " does not fit");
  }
  return parts.body;
}

}  // namespace chorale::secagg
