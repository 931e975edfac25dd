#pragma once

#include <cstdint>
#include <vector>

#include "chorale/v1/secagg.pb.h"
#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/crypto/key_agreement.h"
#include "core/status.h"
#include "core/time.h"
#include "secagg/key_schedule.h"

// The messages that set a session up, decoded. Each Decode takes a body and refuses (MALFORMED)
// whatever is outside the bounds of secagg.proto, before anything is made of it; whether it fits
// the session is for the caller. Each Encode is its inverse.
namespace chorale::secagg {

[[nodiscard]] StatusOr<v1::SessionManifest> DecodeManifest(ByteSpan body);

struct AdvertisedKeys {
  crypto::Digest manifest{};
  MemberIndex member = 0;
  crypto::X25519PublicKey channel_key{};
  std::vector<crypto::X25519PublicKey> mask_keys = {};  // [num_rounds]
  std::vector<MemberIndex> neighbors = {};
  crypto::Digest message{};  // Of the SignedMessage; not in the body.
};
[[nodiscard]] StatusOr<AdvertisedKeys> DecodeAdvertiseKeys(ByteSpan body);
[[nodiscard]] Bytes Encode(const AdvertisedKeys& keys);

// The messages of a KeyDirectory, which is no signed message itself; they lie within it.
[[nodiscard]] StatusOr<std::vector<ByteSpan>> DecodeKeyDirectory(ByteSpan message);
[[nodiscard]] Bytes EncodeKeyDirectory(const std::vector<ByteSpan>& messages);

// The seals between one member and several others, [num_members, num_rounds, kSealedSharesBytes].
struct SealedShares {
  std::vector<MemberIndex> members = {};  // Ascending.
  Bytes sealed = {};

  // What concerns one of them, all rounds; empty for anybody else.
  [[nodiscard]] ByteSpan Of(MemberIndex member) const;
  friend bool operator==(const SealedShares&, const SealedShares&) = default;
};

struct DealtShares {
  crypto::Digest session{};
  MemberIndex member = 0;
  std::vector<crypto::Digest> commitments = {};  // [num_rounds]
  SealedShares shares = {};                      // By holder.
};
[[nodiscard]] StatusOr<DealtShares> DecodeShareKeys(ByteSpan body);
[[nodiscard]] Bytes Encode(const DealtShares& shares);

// A ShareDelivery, which is no signed message.
struct DeliveredShares {
  crypto::Digest session{};
  MemberIndex member = 0;
  SealedShares shares = {};  // By dealer.
};
[[nodiscard]] StatusOr<DeliveredShares> DecodeShareDelivery(ByteSpan message);
[[nodiscard]] Bytes Encode(const DeliveredShares& shares);

struct AcknowledgedShares {
  crypto::Digest session{};
  MemberIndex member = 0;
  std::vector<MemberIndex> dealers = {};
};
[[nodiscard]] StatusOr<AcknowledgedShares> DecodeShareKeysAck(ByteSpan body);
[[nodiscard]] Bytes Encode(const AcknowledgedShares& ack);

}  // namespace chorale::secagg
