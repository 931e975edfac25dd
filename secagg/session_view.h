#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/crypto/key_agreement.h"
#include "core/status.h"
#include "secagg/key_schedule.h"
#include "secagg/session_terms.h"
#include "secagg/setup_messages.h"

namespace chorale::secagg {

// Whether what one member advertised fits the terms.
//   WRONG_SESSION            another manifest, or no member of it
//   KEY_INVALID              another number of mask keys
//   PARAMETERS_NOT_APPROVED  other neighbours than the graph calls for
[[nodiscard]] Status CheckAdvertised(const SessionTerms& terms, const AdvertisedKeys& keys);

// The public side of a session once its keys are known: who advertised what, who shares with whom,
// and the session's id, which binds all of it. Immutable; safe for concurrent use.
class SessionView {
 public:
  // `keys` in ascending order of member, each already verified. Refuses
  //   GROUP_TOO_SMALL  fewer than max(t, N_min)
  //   KEY_INVALID      a key that appears twice
  //   or as CheckAdvertised does.
  // Every key agrees with some other: keys of low order show when they are used.
  [[nodiscard]] static StatusOr<SessionView> Create(std::shared_ptr<const SessionTerms> terms,
                                                    std::vector<AdvertisedKeys> keys);
  // From a KeyDirectory, verifying every signature. Refuses as above, and BAD_SIGNATURE, MALFORMED,
  // WRONG_SESSION.
  [[nodiscard]] static StatusOr<SessionView> FromDirectory(
      std::shared_ptr<const SessionTerms> terms, ByteSpan message);

  [[nodiscard]] const SessionTerms& terms() const { return *terms_; }
  [[nodiscard]] const crypto::Digest& id() const { return id_; }
  // U1, ascending.
  [[nodiscard]] const std::vector<MemberIndex>& advertised() const { return advertised_; }
  [[nodiscard]] bool HasAdvertised(MemberIndex member) const;

  // REQUIRES, from here on: HasAdvertised(member); round in [1, R].
  [[nodiscard]] const crypto::X25519PublicKey& channel_key(MemberIndex member) const;
  [[nodiscard]] const crypto::X25519PublicKey& mask_key(MemberIndex member,
                                                        std::uint32_t round) const;
  // Digest of the AdvertiseKeys message of a member.
  [[nodiscard]] const crypto::Digest& advertisement(MemberIndex member) const;
  // Whom `member` seals shares for, ascending; itself never.
  [[nodiscard]] const std::vector<MemberIndex>& HoldersOf(MemberIndex member) const;
  // Who seals shares for `member`, ascending; itself never.
  [[nodiscard]] const std::vector<MemberIndex>& DealersOf(MemberIndex member) const;
  // With whom `member` has pair masks: holders and dealers, ascending.
  [[nodiscard]] const std::vector<MemberIndex>& NeighborsOf(MemberIndex member) const;
  // True where a member also keeps a share of its own seed: in the complete graph.
  [[nodiscard]] bool keeps_own_share() const { return !terms_->neighbors.has_value(); }

 private:
  struct Entry {
    AdvertisedKeys keys;
    std::vector<MemberIndex> holders;
    std::vector<MemberIndex> dealers;
    std::vector<MemberIndex> neighbors;
  };

  SessionView() = default;

  std::shared_ptr<const SessionTerms> terms_;
  crypto::Digest id_{};
  std::vector<MemberIndex> advertised_;
  std::vector<std::unique_ptr<const Entry>> entries_;  // [num_members]; null: did not advertise.
};

}  // namespace chorale::secagg
