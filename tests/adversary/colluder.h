#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/key_agreement.h"
#include "core/crypto/secret_bytes.h"
#include "identity/identity.h"
#include "secagg/client_session.h"
#include "secagg/round_messages.h"
#include "secagg/session_view.h"
#include "tests/secagg/federation.h"

// A site that works with the coordinator: it holds a real certificate, sets its sessions up as it
// should, and from then on says and gives whatever it is asked for.
namespace chorale::adversary {

struct Group {
  std::vector<secagg::Member> members;  // In order.
  secagg::MemberIndex colluder = 0;
  JobId job;
  crypto::Digest job_digest{};
  crypto::SigningPublicKey coordinator_key{};
};

class Colluder {
 public:
  // `identity` must outlive it.
  Colluder(const identity::Identity& identity, Group group, std::uint64_t seed);
  ~Colluder();

  [[nodiscard]] Bytes Advertise(const Bytes& manifest);
  [[nodiscard]] Bytes Deal(const Bytes& directory);
  // Opens what the others sealed for it.
  void Open(const secagg::SessionView& view, const secagg::DeliveredShares& delivery);

  [[nodiscard]] Bytes Sign(secagg::MessageKind kind, const Bytes& body) const;
  // Under its signature, whatever it is.
  [[nodiscard]] Bytes Statement(const secagg::RoundSeen& seen) const;
  [[nodiscard]] bool has_dealt() const { return has_dealt_; }
  [[nodiscard]] const crypto::X25519PrivateKey& mask_key(std::uint32_t round) const;
  // REQUIRES: it dealt shares.
  [[nodiscard]] crypto::SecretBytes seed(std::uint32_t round) const;
  // What `dealer` shared with it for the round: a share of the seed, then one of the mask key. Null
  // when that could not be opened.
  [[nodiscard]] const crypto::SecretBytes* shares_of(secagg::MemberIndex dealer,
                                                     std::uint32_t round) const;
  [[nodiscard]] secagg::MemberIndex member() const { return group_.colluder; }

 private:
  class Believer;

  const identity::Identity& identity_;
  Group group_;
  std::unique_ptr<Believer> verifier_;
  secagg::RecordingRandom random_;
  std::unique_ptr<secagg::ClientSession> session_;
  std::size_t first_ = 0;                            // Of the session's secrets.
  std::vector<crypto::X25519PrivateKey> mask_keys_;  // The channel key, then by round.
  std::uint32_t num_rounds_ = 0;
  bool has_dealt_ = false;
  std::map<secagg::MemberIndex, std::vector<crypto::SecretBytes>> opened_;
};

}  // namespace chorale::adversary
