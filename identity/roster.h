#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/identity.pb.h"
#include "core/crypto/certificate.h"
#include "core/crypto/signature.h"
#include "core/ids.h"
#include "core/status.h"
#include "identity/party.h"

namespace chorale::identity {

// INVALID_ARGUMENT unless 1 to 256 bytes of UTF-8 without control characters.
[[nodiscard]] Status ValidateRevocationReason(std::string_view reason);

// The members that the authority states: a file whose first line is
//   # chorale-roster-signature: <hex of the Ed25519 signature of every following byte, domain
//   "chorale/v1/roster">
// and whose rest is YAML of v1::Roster. Immutable, safe for concurrent use. An older roster is
// sound too: who reads rosters over time refuses a version lower than the highest it has seen.
class Roster {
 public:
  // DATA_LOSS: no signature in the first line. PERMISSION_DENIED: it is not of the root's
  // authority, or the file was changed since. INVALID_ARGUMENT, with the line: malformed content.
  // At most 1 MiB, some 7000 members.
  [[nodiscard]] static StatusOr<Roster> Parse(std::string_view file,
                                              const crypto::Certificate& root);
  [[nodiscard]] static std::string Render(const v1::Roster& roster,
                                          const crypto::SigningKey& authority);

  // Who holds this certificate. UNAUTHENTICATED, each with its own words: not issued by the root,
  // expired, not on the roster (unknown site), replaced by a newer certificate, revoked (when and
  // why).
  [[nodiscard]] StatusOr<Party> Authenticate(const crypto::Certificate& certificate,
                                             Time now) const;

  [[nodiscard]] std::uint64_t version() const;
  [[nodiscard]] const std::string& federation() const;
  // Every site, revoked ones included, by name.
  [[nodiscard]] const std::map<SiteId, v1::RosterEntry>& sites() const { return sites_; }

 private:
  Roster() = default;
  std::string federation_;
  std::uint64_t version_ = 0;
  std::shared_ptr<const crypto::Certificate> root_;
  std::map<SiteId, v1::RosterEntry> sites_;
  std::map<std::pair<int, std::string>, v1::RosterEntry> members_;
};

}  // namespace chorale::identity
