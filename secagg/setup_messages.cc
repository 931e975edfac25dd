#include "secagg/setup_messages.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "secagg/field_codec.h"
#include "secagg/parameters.h"
#include "secagg/wire_scan.h"

namespace chorale::secagg {
namespace {

constexpr std::size_t kMaxRosterBytes = 1 << 20;
constexpr std::size_t kMaxCertificateBytes = 16384;

constexpr std::array kManifestFields = {FieldRule{1},
                                        FieldRule{2},
                                        FieldRule{3},
                                        FieldRule{4},
                                        FieldRule{5},
                                        FieldRule{6},
                                        FieldRule{7, kMaxMembers},
                                        FieldRule{8},
                                        FieldRule{9},
                                        FieldRule{10},
                                        FieldRule{11},
                                        FieldRule{12},
                                        FieldRule{13},
                                        FieldRule{14},
                                        FieldRule{15},
                                        FieldRule{16}};
constexpr std::uint32_t kMembersField = 7;
constexpr std::uint32_t kNeighborsField = 13;
constexpr std::array kMemberFields = {FieldRule{1}, FieldRule{2}};
constexpr std::array kNeighborFields = {FieldRule{1}, FieldRule{2}, FieldRule{3}};
constexpr std::array kAdvertiseFields = {FieldRule{1}, FieldRule{2}, FieldRule{3}, FieldRule{4},
                                         FieldRule{5}};
constexpr std::array kShareFields = {FieldRule{1}, FieldRule{2}, FieldRule{3}, FieldRule{4},
                                     FieldRule{5}};
constexpr std::array kDeliveryFields = {FieldRule{1}, FieldRule{2}, FieldRule{3}, FieldRule{4}};
constexpr std::array kAckFields = {FieldRule{1}, FieldRule{2}, FieldRule{3}};

// The seals of `members`, [num_members, num_rounds, kSealedSharesBytes].
StatusOr<SealedShares> ReadSealed(std::string_view field, std::vector<MemberIndex> members,
                                  const std::string& sealed) {
  if (members.size() >= kMaxMembers) {
    return Malformed(field, "be of at most " + std::to_string(kMaxMembers - 1) + " members");
  }
  const std::size_t row = members.size() * kSealedSharesBytes;
  const bool fits = row == 0 ? sealed.empty()
                             : sealed.size() % row == 0 && sealed.size() >= row &&
                                   sealed.size() <= row * kMaxRounds;
  if (!fits) {
    return Malformed(field, "have 96 bytes for each member and round, got " +
                                std::to_string(sealed.size()) + " for " +
                                std::to_string(members.size()) + " members");
  }
  const ByteSpan bytes = AsBytes(sealed);
  return SealedShares{.members = std::move(members), .sealed = Bytes(bytes.begin(), bytes.end())};
}

}  // namespace

StatusOr<v1::SessionManifest> DecodeManifest(ByteSpan body) {
  v1::SessionManifest manifest;
  CHORALE_RETURN_IF_ERROR(Parse(MessageKind::kSessionManifest, body, kManifestFields, manifest));
  for (WireReader reader(body); !reader.IsAtEnd();) {
    CHORALE_ASSIGN_OR_RETURN(const WireField field, reader.Next());
    if (field.number == kMembersField) {
      CHORALE_RETURN_IF_ERROR(CheckFields("ManifestMember", field.content, kMemberFields));
    } else if (field.number == kNeighborsField) {
      CHORALE_RETURN_IF_ERROR(CheckFields("NeighborGraph", field.content, kNeighborFields));
    }
  }
  if (manifest.roster().size() > kMaxRosterBytes) {
    return Malformed("roster", "have at most 1 MiB");
  }
  for (const v1::ManifestMember& member : manifest.members()) {
    if (member.certificate().size() > kMaxCertificateBytes) {
      return Malformed("members.certificate", "have at most 16 KiB");
    }
  }
  return manifest;
}

StatusOr<AdvertisedKeys> DecodeAdvertiseKeys(ByteSpan body) {
  v1::AdvertiseKeys proto;
  CHORALE_RETURN_IF_ERROR(Parse(MessageKind::kAdvertiseKeys, body, kAdvertiseFields, proto));
  AdvertisedKeys keys;
  CHORALE_ASSIGN_OR_RETURN(keys.manifest, ReadDigest("manifest", proto.manifest()));
  CHORALE_ASSIGN_OR_RETURN(keys.member, ReadMember("member", proto.member()));
  CHORALE_ASSIGN_OR_RETURN(keys.channel_key, ReadDigest("channel_key", proto.channel_key()));
  CHORALE_ASSIGN_OR_RETURN(keys.mask_keys,
                           ReadDigests("mask_keys", proto.mask_keys(), 1, kMaxRounds));
  CHORALE_ASSIGN_OR_RETURN(keys.neighbors, ReadMembers("neighbors", proto.neighbors(), 0));
  return keys;
}

Bytes Encode(const AdvertisedKeys& keys) {
  v1::AdvertiseKeys proto;
  proto.set_manifest(ToField(keys.manifest));
  proto.set_member(keys.member);
  proto.set_channel_key(ToField(keys.channel_key));
  proto.set_mask_keys(ToField(keys.mask_keys));
  ToField(keys.neighbors, proto.mutable_neighbors());
  return Serialize(proto);
}

StatusOr<std::vector<ByteSpan>> DecodeKeyDirectory(ByteSpan message) {
  constexpr MessageKind kKind = MessageKind::kKeyDirectory;
  if (message.size() > MaxBytes(kKind)) {
    return Malformed("KeyDirectory", "have at most " + std::to_string(MaxBytes(kKind)) +
                                         " bytes, got " + std::to_string(message.size()));
  }
  std::vector<ByteSpan> messages;
  WireReader reader(message);
  while (!reader.IsAtEnd()) {
    CHORALE_ASSIGN_OR_RETURN(const WireField field, reader.Next());
    if (field.number != 1 || field.wire_type != 2) {
      return Malformed("KeyDirectory", "consist of messages");
    }
    if (messages.size() == kMaxMembers) {
      return Malformed("KeyDirectory", "have at most 1000 messages");
    }
    messages.push_back(field.content);
  }
  if (messages.size() < kMinMembers) {
    return Malformed("KeyDirectory",
                     "have at least 3 messages, got " + std::to_string(messages.size()));
  }
  return messages;
}

Bytes EncodeKeyDirectory(const std::vector<ByteSpan>& messages) {
  v1::KeyDirectory proto;
  for (const ByteSpan message : messages) proto.add_messages(message.data(), message.size());
  return Serialize(proto);
}

ByteSpan SealedShares::Of(MemberIndex member) const {
  const auto found = std::ranges::lower_bound(members, member);
  if (found == members.end() || *found != member) return {};
  const std::size_t row = sealed.size() / members.size();
  const auto place = static_cast<std::size_t>(found - members.begin());
  return ByteSpan(sealed).subspan(place * row, row);
}

StatusOr<DealtShares> DecodeShareKeys(ByteSpan body) {
  v1::ShareKeys proto;
  CHORALE_RETURN_IF_ERROR(Parse(MessageKind::kShareKeys, body, kShareFields, proto));
  DealtShares dealt;
  CHORALE_ASSIGN_OR_RETURN(dealt.session, ReadDigest("session", proto.session()));
  CHORALE_ASSIGN_OR_RETURN(dealt.member, ReadMember("member", proto.member()));
  CHORALE_ASSIGN_OR_RETURN(dealt.commitments,
                           ReadDigests("commitments", proto.commitments(), 1, kMaxRounds));
  CHORALE_ASSIGN_OR_RETURN(std::vector<MemberIndex> holders,
                           ReadMembers("holders", proto.holders(), 1));
  CHORALE_ASSIGN_OR_RETURN(dealt.shares, ReadSealed("sealed", std::move(holders), proto.sealed()));
  return dealt;
}

Bytes Encode(const DealtShares& shares) {
  v1::ShareKeys proto;
  proto.set_session(ToField(shares.session));
  proto.set_member(shares.member);
  proto.set_commitments(ToField(shares.commitments));
  ToField(shares.shares.members, proto.mutable_holders());
  proto.set_sealed(ToField(shares.shares.sealed));
  return Serialize(proto);
}

StatusOr<DeliveredShares> DecodeShareDelivery(ByteSpan message) {
  v1::ShareDelivery proto;
  CHORALE_RETURN_IF_ERROR(Parse(MessageKind::kShareDelivery, message, kDeliveryFields, proto));
  DeliveredShares delivered;
  CHORALE_ASSIGN_OR_RETURN(delivered.session, ReadDigest("session", proto.session()));
  CHORALE_ASSIGN_OR_RETURN(delivered.member, ReadMember("member", proto.member()));
  CHORALE_ASSIGN_OR_RETURN(std::vector<MemberIndex> dealers,
                           ReadMembers("dealers", proto.dealers(), 0));
  CHORALE_ASSIGN_OR_RETURN(delivered.shares,
                           ReadSealed("sealed", std::move(dealers), proto.sealed()));
  return delivered;
}

Bytes Encode(const DeliveredShares& shares) {
  v1::ShareDelivery proto;
  proto.set_session(ToField(shares.session));
  proto.set_member(shares.member);
  ToField(shares.shares.members, proto.mutable_dealers());
  proto.set_sealed(ToField(shares.shares.sealed));
  return Serialize(proto);
}

StatusOr<AcknowledgedShares> DecodeShareKeysAck(ByteSpan body) {
  v1::ShareKeysAck proto;
  CHORALE_RETURN_IF_ERROR(Parse(MessageKind::kShareKeysAck, body, kAckFields, proto));
  AcknowledgedShares ack;
  CHORALE_ASSIGN_OR_RETURN(ack.session, ReadDigest("session", proto.session()));
  CHORALE_ASSIGN_OR_RETURN(ack.member, ReadMember("member", proto.member()));
  CHORALE_ASSIGN_OR_RETURN(ack.dealers, ReadMembers("dealers", proto.dealers(), 0));
  return ack;
}

Bytes Encode(const AcknowledgedShares& ack) {
  v1::ShareKeysAck proto;
  proto.set_session(ToField(ack.session));
  proto.set_member(ack.member);
  ToField(ack.dealers, proto.mutable_dealers());
  return Serialize(proto);
}

}  // namespace chorale::secagg
