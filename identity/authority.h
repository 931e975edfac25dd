#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/identity.pb.h"
#include "core/status.h"
#include "core/time.h"

namespace chorale::identity {

struct Invitation {
  v1::PartyRole role = v1::PARTY_ROLE_UNSPECIFIED;
  std::string name;
  std::vector<std::string> dns_names;     // Coordinators only: the names that sites dial.
  std::vector<std::string> ip_addresses;  // Likewise.
  Duration token_validity = std::chrono::hours(24 * 7);
  Duration certificate_validity = std::chrono::hours(24 * 365);
};

// The federation authority: a directory kept offline, by nobody who runs a coordinator.
//   root.pem root.key signing.key (0600) authority.db (invitations, certificates) roster.yaml
//   (signed)
// One process at a time: Open takes the directory's lock. Not thread-safe.
class Authority {
 public:
  // The root lasts ten years. ALREADY_EXISTS when the directory holds one; FAILED_PRECONDITION when
  // it holds parts of one.
  [[nodiscard]] static Status Create(const std::filesystem::path& directory,
                                     std::string_view federation, Time now);
  // NOT_FOUND; FAILED_PRECONDITION: in use by another process, or open to other users. Writes
  // roster.yaml again if a crash left an older one.
  [[nodiscard]] static StatusOr<Authority> Open(const std::filesystem::path& directory);

  // A one-time token, to be told to the party over a channel the authority trusts. Its secret is
  // erased once used. Withdraws earlier tokens for the same member that nobody has used.
  // ALREADY_EXISTS when a member of this role and name is in good standing, unless `renew`.
  // INVALID_ARGUMENT names the field of the invitation.
  [[nodiscard]] StatusOr<std::string> Invite(const Invitation& invitation, bool renew, Time now);

  // Answers a request with a bundle, once per token, and rewrites the roster. PERMISSION_DENIED,
  // each with its own words: unknown token, token already used (when, by whom), token withdrawn,
  // token expired, wrong secret, keys not proved. The certificate ends with the root at the latest.
  // A bundle that is lost takes a new invitation.
  [[nodiscard]] StatusOr<std::string> Sign(std::string_view request, Time now);

  // Marks a member as revoked, withdraws its open tokens and rewrites the roster. The reason has 1
  // to 256 bytes and is for everybody who reads the roster. NOT_FOUND; ALREADY_EXISTS when it was
  // revoked before.
  [[nodiscard]] Status Revoke(v1::PartyRole role, std::string_view name, std::string_view reason,
                              Time now);

  [[nodiscard]] StatusOr<v1::Roster> LoadRoster() const;
  [[nodiscard]] std::filesystem::path roster_path() const;

  Authority(Authority&&) noexcept;
  Authority& operator=(Authority&&) noexcept;
  ~Authority();

 private:
  struct State;
  explicit Authority(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace chorale::identity
