#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/identity.pb.h"
#include "core/crypto/certificate.h"
#include "core/crypto/secret_bytes.h"
#include "core/status.h"
#include "core/storage/sqlite.h"
#include "core/time.h"

// Private to this folder: authority.db. Not thread-safe. Several calls that belong together share a
// transaction.
namespace chorale::identity {

struct StoredInvitation {
  std::string token_id;
  v1::PartyRole role = v1::PARTY_ROLE_UNSPECIFIED;
  std::string name;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  Duration certificate_validity{};
  Time created_at;
  Time expires_at;
  std::optional<crypto::SecretBytes> secret;  // Erased once used or withdrawn.
  std::optional<Time> used_at;
  std::string serial;  // Of the certificate it was used for.
  std::optional<Time> withdrawn_at;
};

struct StoredMember {
  std::string serial;
  Time not_after;
  std::optional<Time> revoked_at;
};

class AuthorityStore {
 public:
  [[nodiscard]] static StatusOr<AuthorityStore> Open(const std::filesystem::path& path);

  [[nodiscard]] StatusOr<storage::Transaction> Begin() {
    return storage::Transaction::Begin(database_);
  }

  // REQUIRES: `secret` is there.
  [[nodiscard]] Status AddInvitation(const StoredInvitation& invitation);
  [[nodiscard]] StatusOr<std::optional<StoredInvitation>> FindInvitation(std::string_view token_id);
  // Also erases the secret.
  [[nodiscard]] Status MarkUsed(std::string_view token_id, std::string_view serial, Time now);
  // Every invitation of this member that nobody has used; erases their secrets.
  [[nodiscard]] Status WithdrawInvitations(v1::PartyRole role, std::string_view name, Time now);

  // The member's certificate from now on; a revocation before it is over.
  [[nodiscard]] Status RecordCertificate(const StoredInvitation& invitation,
                                         const crypto::Certificate& certificate, Time now);
  [[nodiscard]] StatusOr<std::optional<StoredMember>> FindMember(v1::PartyRole role,
                                                                 std::string_view name);
  [[nodiscard]] Status MarkRevoked(v1::PartyRole role, std::string_view name,
                                   std::string_view reason, Time now);

  // Gives the roster its next version.
  [[nodiscard]] Status AdvanceRoster(Time now);
  // Members by role and name.
  [[nodiscard]] StatusOr<v1::Roster> LoadRoster(std::string_view federation);

  // Removes what erased rows left in the write-ahead log. REQUIRES: no transaction under way.
  [[nodiscard]] Status EraseRemains();

 private:
  explicit AuthorityStore(storage::Database database) : database_(std::move(database)) {}
  storage::Database database_;
};

}  // namespace chorale::identity
