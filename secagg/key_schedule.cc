#include "secagg/key_schedule.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "secagg/refusal.h"

namespace chorale::secagg {
namespace {

constexpr std::size_t kKeyBytes = 32;

// A message put together from fields of fixed size.
class Message {
 public:
  explicit Message(std::string_view label) {
    bytes_.reserve(kMostBytes);
    Add(AsBytes(label));
  }
  Message& Add(ByteSpan bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Message& AddRound(std::uint64_t round) { return AddBigEndian(round, 8); }
  Message& AddIndex(std::uint32_t index) { return AddBigEndian(index, 4); }
  [[nodiscard]] ByteSpan bytes() const { return bytes_; }

 private:
  Message& AddBigEndian(std::uint64_t value, int num_bytes) {
    for (int i = num_bytes - 1; i >= 0; --i) {
      bytes_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
    return *this;
  }

  // The most that a key is derived from: a label, a round, two indices, two public keys.
  static constexpr std::size_t kMostBytes = 128;

  Bytes bytes_;
};

// The public keys of two members, that of the smaller roster index first.
Message& AddKeys(Message& message, MemberIndex own_index, const crypto::X25519PublicKey& own,
                 MemberIndex peer_index, const crypto::X25519PublicKey& peer) {
  const bool is_own_first = own_index < peer_index;
  return message.Add(is_own_first ? own : peer).Add(is_own_first ? peer : own);
}

Status KeyInvalid(MemberIndex peer_index, const Status& reason) {
  return Refused(RefusalCode::kKeyInvalid,
                 "member " + std::to_string(peer_index) + ": " + MessageOf(reason));
}

Status CheckPair(MemberIndex own_index, MemberIndex peer_index) {
  if (own_index != peer_index) return OkStatus();
  return InvalidArgument("member " + std::to_string(own_index) + " has no key with itself");
}

std::vector<crypto::X25519PublicKey> PublicKeysOf(std::span<const Peer> peers) {
  std::vector<crypto::X25519PublicKey> keys;
  keys.reserve(peers.size());
  for (const Peer& peer : peers) keys.push_back(peer.key);
  return keys;
}

// One side of the pair keys of a round.
struct PairSide {
  const crypto::Digest& session_id;
  const crypto::X25519PrivateKey& own;
  MemberIndex own_index;
  std::uint64_t round;
};

StatusOr<crypto::SecretBytes> DerivePairKey(const PairSide& side, const Peer& peer,
                                            const StatusOr<crypto::SecretBytes>& shared) {
  if (!shared.ok()) return KeyInvalid(peer.index, shared.status());
  Message info("fl-secagg/v1 pair");
  info.AddRound(side.round)
      .AddIndex(std::min(side.own_index, peer.index))
      .AddIndex(std::max(side.own_index, peer.index));
  AddKeys(info, side.own_index, side.own.public_key(), peer.index, peer.key);
  return crypto::Hkdf(side.session_id, shared->Reveal(), info.bytes(), kKeyBytes);
}

std::array<std::uint8_t, crypto::kAeadNonceBytes> NonceOf(std::uint64_t round, std::uint32_t type) {
  std::array<std::uint8_t, crypto::kAeadNonceBytes> nonce{};
  const Message message = Message("").AddRound(round).AddIndex(type);
  std::copy(message.bytes().begin(), message.bytes().end(), nonce.begin());
  return nonce;
}

Message AssociatedData(const crypto::Digest& session_id, std::uint64_t round, MemberIndex from,
                       MemberIndex to, std::uint32_t type) {
  return Message("").Add(session_id).AddRound(round).AddIndex(from).AddIndex(to).AddIndex(type);
}

}  // namespace

crypto::Digest SessionIdOf(const crypto::Digest& manifest, const crypto::Digest& keys) {
  return crypto::Sha256(Message("fl-secagg/v1/session").Add(manifest).Add(keys).bytes());
}

crypto::Digest ContextOf(const RoundBinding& binding) {
  return crypto::Sha256(Message("fl-secagg/v1/ctx")
                            .Add(binding.session_id)
                            .AddRound(binding.round)
                            .Add(binding.model)
                            .Add(binding.task)
                            .Add(binding.encoding)
                            .Add(binding.participants)
                            .bytes());
}

crypto::Digest ParticipantsDigest(std::span<const MemberIndex> sorted) {
  Message message("fl-secagg/v1/participants");
  for (const MemberIndex index : sorted) message.AddIndex(index);
  return crypto::Sha256(message.bytes());
}

StatusOr<crypto::SecretBytes> PairKey(const crypto::Digest& session_id,
                                      const crypto::X25519PrivateKey& own, MemberIndex own_index,
                                      const crypto::X25519PublicKey& peer, MemberIndex peer_index,
                                      std::uint64_t round) {
  const Peer one{peer_index, peer};
  CHORALE_ASSIGN_OR_RETURN(std::vector<crypto::SecretBytes> keys,
                           PairKeys(session_id, own, own_index, {&one, 1}, round));
  return std::move(keys.front());
}

StatusOr<std::vector<crypto::SecretBytes>> PairKeys(const crypto::Digest& session_id,
                                                    const crypto::X25519PrivateKey& own,
                                                    MemberIndex own_index,
                                                    std::span<const Peer> peers,
                                                    std::uint64_t round) {
  for (const Peer& peer : peers) CHORALE_RETURN_IF_ERROR(CheckPair(own_index, peer.index));
  const std::vector<StatusOr<crypto::SecretBytes>> shared = own.AgreeAll(PublicKeysOf(peers));
  const PairSide side{session_id, own, own_index, round};
  std::vector<crypto::SecretBytes> keys;
  keys.reserve(peers.size());
  for (std::size_t i = 0; i < peers.size(); ++i) {
    CHORALE_ASSIGN_OR_RETURN(crypto::SecretBytes key, DerivePairKey(side, peers[i], shared[i]));
    keys.push_back(std::move(key));
  }
  return keys;
}

StatusOr<std::vector<std::vector<crypto::SecretBytes>>> PairKeysOfDisclosed(
    const crypto::Digest& session_id, std::span<const DisclosedMember> members,
    std::span<const Peer> peers, std::uint64_t round) {
  std::vector<crypto::DisclosedKey> disclosed;
  disclosed.reserve(members.size());
  for (const DisclosedMember& member : members) {
    for (const std::size_t i : member.peers) {
      CHORALE_RETURN_IF_ERROR(CheckPair(member.index, peers[i].index));
    }
    disclosed.push_back({member.key, member.peers});
  }
  const auto shared = crypto::AgreeDisclosed(disclosed, PublicKeysOf(peers));
  std::vector<std::vector<crypto::SecretBytes>> keys(members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    const DisclosedMember& member = members[i];
    const PairSide side{session_id, *member.key, member.index, round};
    keys[i].reserve(member.peers.size());
    for (std::size_t place = 0; place < member.peers.size(); ++place) {
      CHORALE_ASSIGN_OR_RETURN(crypto::SecretBytes key,
                               DerivePairKey(side, peers[member.peers[place]], shared[i][place]));
      keys[i].push_back(std::move(key));
    }
  }
  return keys;
}

crypto::SecretBytes PairMaskKey(const crypto::SecretBytes& pair_key, const crypto::Digest& context,
                                Suite suite) {
  return crypto::HkdfExpand(pair_key.Reveal(), Message("fl-secagg/v1 mask").Add(context).bytes(),
                            MaskKeyBytes(suite));
}

crypto::SecretBytes SelfMaskKey(const crypto::SecretBytes& seed, const crypto::Digest& context,
                                Suite suite) {
  return crypto::HkdfExpand(seed.Reveal(), Message("fl-secagg/v1 self").Add(context).bytes(),
                            MaskKeyBytes(suite));
}

StatusOr<crypto::AeadKey> ChannelKey(const crypto::Digest& session_id,
                                     const crypto::X25519PrivateKey& own, MemberIndex own_index,
                                     const crypto::X25519PublicKey& peer, MemberIndex peer_index,
                                     MemberIndex from, MemberIndex to) {
  CHORALE_RETURN_IF_ERROR(CheckPair(own_index, peer_index));
  if (std::minmax(from, to) != std::minmax(own_index, peer_index)) {
    return InvalidArgument("members " + std::to_string(own_index) + " and " +
                           std::to_string(peer_index) + " have no channel from " +
                           std::to_string(from) + " to " + std::to_string(to));
  }
  const StatusOr<crypto::SecretBytes> shared = own.Agree(peer);
  if (!shared.ok()) return KeyInvalid(peer_index, shared.status());
  Message info("fl-secagg/v1 chan");
  info.AddIndex(from).AddIndex(to);
  AddKeys(info, own_index, own.public_key(), peer_index, peer);
  return crypto::AeadKey::Create(
      crypto::Hkdf(session_id, shared->Reveal(), info.bytes(), kKeyBytes));
}

Bytes SealShares(const crypto::AeadKey& key, const crypto::Digest& session_id, std::uint64_t round,
                 MemberIndex from, MemberIndex to, std::uint32_t type, ByteSpan plaintext) {
  return key.Seal(NonceOf(round, type), plaintext,
                  AssociatedData(session_id, round, from, to, type).bytes());
}

StatusOr<crypto::SecretBytes> OpenShares(const crypto::AeadKey& key,
                                         const crypto::Digest& session_id, std::uint64_t round,
                                         MemberIndex from, MemberIndex to, std::uint32_t type,
                                         ByteSpan sealed) {
  return key.Open(NonceOf(round, type), sealed,
                  AssociatedData(session_id, round, from, to, type).bytes());
}

crypto::Digest SeedCommitment(const crypto::Digest& session_id, MemberIndex member,
                              std::uint64_t round, const crypto::SecretBytes& seed) {
  crypto::Sha256Hasher hasher;
  hasher.Update(Message("b").Add(session_id).AddIndex(member).AddRound(round).bytes());
  hasher.Update(seed.Reveal());  // Not through a buffer that nobody wipes.
  return std::move(hasher).Finish();
}

}  // namespace chorale::secagg
