#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "secagg/round_messages.h"
#include "secagg/session_view.h"
#include "tests/adversary/colluder.h"

// What the coordinator has in hand after a round, and everything that can be made of it.
namespace chorale::adversary {

// Members as bits.
using Members = std::uint32_t;
[[nodiscard]] inline Members Bit(secagg::MemberIndex member) { return Members{1} << member; }

// Sums that came out; each over some members' vectors.
struct Learned {
  std::vector<Members> sums;
  std::string fault;  // A sum that should have come out and did not: the search is wrong.
};

// Of one round of one session.
class Loot {
 public:
  // `commitments`: of the members who dealt shares, by member. Everything must outlive it.
  Loot(const secagg::SessionView& view, std::uint32_t round, const secagg::VectorSpec& spec,
       const std::map<secagg::MemberIndex, secagg::DealtShares>& dealt, const Colluder& colluder)
      : view_(view), round_(round), spec_(spec), dealt_(dealt), colluder_(colluder) {}

  // A masked vector, and the round as its site was told it.
  void Take(secagg::MemberIndex member, const secagg::RoundTerms& terms, Bytes vector);
  void Take(secagg::UnmaskingShares shares);

  // Reconstructs every secret that the shares give, and takes every mask that is then known off
  // every sum of vectors. A sum is learned when nothing of a mask is left on it, or when it is the
  // plaintext's. `plaintexts`, where they are known, decide whether it really is.
  [[nodiscard]] Learned Search(const std::map<secagg::MemberIndex, Bytes>& plaintexts) const;

 private:
  struct Held {
    secagg::RoundTerms terms;
    crypto::Digest context{};
    Bytes vector;
  };
  struct Secrets {
    std::map<secagg::MemberIndex, crypto::SecretBytes> seeds;
    std::map<secagg::MemberIndex, crypto::X25519PrivateKey> keys;
  };
  [[nodiscard]] Secrets Reconstruct() const;
  [[nodiscard]] StatusOr<crypto::SecretBytes> Combine(secagg::MemberIndex dealer,
                                                      bool is_seed) const;
  // Takes what is known off the sum over `members`; false when masks are left.
  [[nodiscard]] bool Unmask(Members members, const Secrets& secrets, Bytes& sum) const;

  const secagg::SessionView& view_;
  std::uint32_t round_;
  const secagg::VectorSpec& spec_;
  const std::map<secagg::MemberIndex, secagg::DealtShares>& dealt_;
  const Colluder& colluder_;
  std::map<secagg::MemberIndex, Held> vectors_;
  std::vector<secagg::UnmaskingShares> shares_;
};

// Whether sums of these sets, added and subtracted, give one member's vector; `known` members'
// vectors are subtracted first.
[[nodiscard]] bool GiveOneVector(const std::vector<Members>& sums, Members known,
                                 std::uint32_t num_members);

}  // namespace chorale::adversary
