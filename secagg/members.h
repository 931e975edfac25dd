#pragma once

#include <optional>
#include <vector>

#include "chorale/v1/secagg.pb.h"
#include "core/crypto/digest.h"
#include "core/crypto/signature.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"
#include "secagg/key_schedule.h"

// Who is in a session.
namespace chorale::secagg {

// A member whose certificate was verified. Its place in the list is its MemberIndex.
struct Member {
  SiteId site;
  crypto::SigningPublicKey key{};
  crypto::Digest certificate{};  // Fingerprint.
  friend bool operator==(const Member&, const Member&) = default;
};

// Turns the certificates of a manifest into members: the one place that knows how a federation
// vouches for its sites. Whoever signs certificates can invent members, and then no protocol helps:
// it must not be the coordinator.
class MemberVerifier {
 public:
  virtual ~MemberVerifier() = default;

  // The members, in the manifest's order. Refuses (UNKNOWN_CERTIFICATE) a certificate that does not
  // chain to the pinned root, is not on the authority's roster, is expired or revoked at `now`, or
  // belongs to another than the named site.
  [[nodiscard]] virtual StatusOr<std::vector<Member>> Verify(const v1::SessionManifest& manifest,
                                                             Time now) = 0;

  // Whether a member verified earlier is in good standing still: asked of every participant at the
  // start of a round. Refuses as above.
  [[nodiscard]] virtual Status VerifyStanding(const Member& /*member*/, Time /*now*/) {
    return OkStatus();
  }
};

// Refuses (UNKNOWN_CERTIFICATE) a site, a signing key or a certificate that appears twice, and
// (ROSTER_INVALID) sites that are not in ascending order.
[[nodiscard]] Status CheckDistinct(const std::vector<Member>& members);

[[nodiscard]] std::optional<MemberIndex> FindMember(const std::vector<Member>& members,
                                                    const SiteId& site);

}  // namespace chorale::secagg
