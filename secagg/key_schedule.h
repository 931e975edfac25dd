#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/cipher.h"
#include "core/crypto/digest.h"
#include "core/crypto/key_agreement.h"
#include "core/crypto/secret_bytes.h"
#include "core/status.h"
#include "secagg/mask_stream.h"

// Every key of the protocol and what it is bound to. Integers are big-endian: rounds of 8 bytes,
// roster indices and types of 4; labels are ASCII without a terminator; || joins. lo and hi are the
// smaller and the larger roster index of a pair. Pure functions, safe for concurrent use.
namespace chorale::secagg {

// 0-based place in the roster.
using MemberIndex = std::uint32_t;

// SHA-256("fl-secagg/v1/session" || manifest || keys). `manifest` is the digest of the manifest as
// received, `keys` that of the advertised keys.
[[nodiscard]] crypto::Digest SessionIdOf(const crypto::Digest& manifest,
                                         const crypto::Digest& keys);

// What the masks of a round belong to. Sites that differ in any of it have masks that do not
// cancel.
struct RoundBinding {
  crypto::Digest session_id;
  std::uint64_t round = 0;
  crypto::Digest model;
  crypto::Digest task;
  crypto::Digest encoding;
  crypto::Digest participants;  // ParticipantsDigest of those announced for the round.
};

// SHA-256("fl-secagg/v1/ctx" || session_id || round || model || task || encoding || participants).
[[nodiscard]] crypto::Digest ContextOf(const RoundBinding& binding);

// SHA-256("fl-secagg/v1/participants" || index of 4 bytes each). REQUIRES: ascending, no index
// twice.
[[nodiscard]] crypto::Digest ParticipantsDigest(std::span<const MemberIndex> sorted);

// K_ij of one round, the same for both sides, 32 bytes:
//   HKDF(salt = session_id, ikm = X25519(own, peer),
//        info = "fl-secagg/v1 pair" || round || lo || hi || key of lo || key of hi).
// Refuses (KEY_INVALID) a peer's key of low order. INVALID_ARGUMENT when both indices are the same.
[[nodiscard]] StatusOr<crypto::SecretBytes> PairKey(const crypto::Digest& session_id,
                                                    const crypto::X25519PrivateKey& own,
                                                    MemberIndex own_index,
                                                    const crypto::X25519PublicKey& peer,
                                                    MemberIndex peer_index, std::uint64_t round);

struct Peer {
  MemberIndex index = 0;
  crypto::X25519PublicKey key;
};
// PairKey with each, in their order, sooner than one by one. Refuses if one of them is refused.
[[nodiscard]] StatusOr<std::vector<crypto::SecretBytes>> PairKeys(
    const crypto::Digest& session_id, const crypto::X25519PrivateKey& own, MemberIndex own_index,
    std::span<const Peer> peers, std::uint64_t round);

// A member whose mask key is no secret any more, and those of some peers that it has a key with.
struct DisclosedMember {
  MemberIndex index = 0;
  const crypto::X25519PrivateKey* key = nullptr;
  std::vector<std::size_t> peers;  // Indices of peers, in any order.
};
// PairKeys of each member with its peers, [member][place in its peers], sooner than member by
// member. Only for mask keys that were recovered: see AgreeDisclosed. REQUIRES: each index is one
// of `peers`.
[[nodiscard]] StatusOr<std::vector<std::vector<crypto::SecretBytes>>> PairKeysOfDisclosed(
    const crypto::Digest& session_id, std::span<const DisclosedMember> members,
    std::span<const Peer> peers, std::uint64_t round);

// HKDF-Expand(pair_key, "fl-secagg/v1 mask" || context), as long as the suite's keys. The member
// with the smaller index subtracts the mask, the one with the larger index adds it.
[[nodiscard]] crypto::SecretBytes PairMaskKey(const crypto::SecretBytes& pair_key,
                                              const crypto::Digest& context, Suite suite);

// HKDF-Expand(seed, "fl-secagg/v1 self" || context). The member adds it.
[[nodiscard]] crypto::SecretBytes SelfMaskKey(const crypto::SecretBytes& seed,
                                              const crypto::Digest& context, Suite suite);

// The key of what `from` seals for `to`, the same for both; one of them is the own side:
//   HKDF(salt = session_id, ikm = X25519(own, peer),
//        info = "fl-secagg/v1 chan" || from || to || key of lo || key of hi).
// Refuses (KEY_INVALID) a peer's key of low order. INVALID_ARGUMENT unless {from, to} are the own
// index and the peer's, which differ.
[[nodiscard]] StatusOr<crypto::AeadKey> ChannelKey(
    const crypto::Digest& session_id, const crypto::X25519PrivateKey& own, MemberIndex own_index,
    const crypto::X25519PublicKey& peer, MemberIndex peer_index, MemberIndex from, MemberIndex to);

// The type of the one message that channels carry so far.
inline constexpr std::uint32_t kSharesType = 1;
// A share of the self-mask seed, then one of the mask key.
inline constexpr std::size_t kSharesPlaintextBytes = 80;
inline constexpr std::size_t kSealedSharesBytes = kSharesPlaintextBytes + crypto::kAeadTagBytes;

// AES-256-GCM with nonce = round || type and associated data = session_id || round || from || to ||
// type. A key seals once for each (round, type); who sends again sends the same bytes.
[[nodiscard]] Bytes SealShares(const crypto::AeadKey& key, const crypto::Digest& session_id,
                               std::uint64_t round, MemberIndex from, MemberIndex to,
                               std::uint32_t type, ByteSpan plaintext);
// DATA_LOSS when the tag does not fit what this message is expected to be.
[[nodiscard]] StatusOr<crypto::SecretBytes> OpenShares(const crypto::AeadKey& key,
                                                       const crypto::Digest& session_id,
                                                       std::uint64_t round, MemberIndex from,
                                                       MemberIndex to, std::uint32_t type,
                                                       ByteSpan sealed);

// SHA-256("b" || session_id || member || round || seed): what a reconstructed seed is checked
// against.
[[nodiscard]] crypto::Digest SeedCommitment(const crypto::Digest& session_id, MemberIndex member,
                                            std::uint64_t round, const crypto::SecretBytes& seed);

}  // namespace chorale::secagg
