#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "core/crypto/key_agreement.h"
#include "core/crypto/secret_bytes.h"
#include "core/random.h"
#include "core/status.h"
#include "secagg/key_schedule.h"
#include "secagg/shamir.h"

namespace chorale::secagg {

// What a site drew when it dealt its shares.
struct DealtSecrets {
  std::vector<crypto::SecretBytes> seeds = {};  // [num_rounds], 32 bytes each.
  std::vector<SecretShare> own_shares = {};  // [num_rounds] of the seeds; empty without own shares.
};
// What a site opened: one plaintext of kSharesPlaintextBytes for each round.
using OpenedShares = std::map<MemberIndex, std::vector<crypto::SecretBytes>>;

// Everything of a session that a site must not tell, in one place: wiped round by round, and on
// destruction. Moved, never copied. Not thread-safe.
class ClientSecrets {
 public:
  // Holds nothing.
  ClientSecrets() = default;
  // A channel key and one mask key a round.
  [[nodiscard]] static ClientSecrets Draw(std::uint32_t num_rounds, RandomSource& random);

  void Keep(DealtSecrets dealt);
  void Keep(OpenedShares opened);

  // Null once erased, or never held. Rounds from 1.
  [[nodiscard]] const crypto::X25519PrivateKey* channel_key() const;
  [[nodiscard]] const crypto::X25519PrivateKey* mask_key(std::uint32_t round) const;
  [[nodiscard]] const crypto::SecretBytes* seed(std::uint32_t round) const;
  // The share of the own seed.
  [[nodiscard]] const SecretShare* own_share(std::uint32_t round) const;
  // What `dealer` shared with this site for the round: kSharesPlaintextBytes.
  [[nodiscard]] const crypto::SecretBytes* shares_of(MemberIndex dealer, std::uint32_t round) const;

  // Forgets the own mask keys and seeds of this round and all before it: once masks are out they
  // have no use.
  void EraseOwnKeys(std::uint32_t round);
  // Forgets everything of this round and all before it.
  void EraseRound(std::uint32_t round);
  // The channel key has no use once shares are opened.
  void EraseChannelKey() { channel_key_.reset(); }

 private:
  std::optional<crypto::X25519PrivateKey> channel_key_;
  std::vector<std::optional<crypto::X25519PrivateKey>> mask_keys_;  // [num_rounds]
  std::vector<std::optional<crypto::SecretBytes>> seeds_;           // [num_rounds]
  std::vector<std::optional<SecretShare>> own_shares_;              // [num_rounds]
  std::map<MemberIndex, std::vector<std::optional<crypto::SecretBytes>>> shares_;
};

}  // namespace chorale::secagg
