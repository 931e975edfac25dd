#include "identity/authority_store.h"

#include <array>
#include <utility>

namespace chorale::identity {
namespace {

// Times are microseconds since the Unix epoch. Lists are lines.
constexpr std::array kMigrations = {storage::Migration{R"sql(
  CREATE TABLE invitations (
    token_id TEXT PRIMARY KEY,
    role INTEGER NOT NULL,
    name TEXT NOT NULL,
    dns_names TEXT NOT NULL,
    ip_addresses TEXT NOT NULL,
    certificate_validity INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    secret BLOB,
    used_at INTEGER,
    serial TEXT,
    withdrawn_at INTEGER
  ) STRICT;
  CREATE TABLE certificates (
    serial TEXT PRIMARY KEY,
    role INTEGER NOT NULL,
    name TEXT NOT NULL,
    token_id TEXT NOT NULL REFERENCES invitations(token_id),
    issued_at INTEGER NOT NULL,
    pem TEXT NOT NULL
  ) STRICT;
  CREATE TABLE members (
    role INTEGER NOT NULL,
    name TEXT NOT NULL,
    serial TEXT NOT NULL REFERENCES certificates(serial),
    not_after INTEGER NOT NULL,
    revoked_at INTEGER,
    reason TEXT,
    PRIMARY KEY (role, name)
  ) STRICT;
  CREATE TABLE roster (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    issued_at INTEGER NOT NULL
  ) STRICT;
)sql"}};

std::int64_t ToMicros(Time time) { return time.time_since_epoch().count(); }
Time FromMicros(std::int64_t micros) { return Time(Duration(micros)); }

std::string JoinLines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

std::vector<std::string> SplitLines(std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t end = 0; (end = text.find('\n')) != std::string_view::npos;) {
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::optional<Time> OptionalTime(const storage::Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return FromMicros(row.Int(column));
}

std::optional<crypto::SecretBytes> OptionalSecret(const storage::Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  Bytes bytes = row.Blob(column);
  std::optional<crypto::SecretBytes> secret(std::in_place, ByteSpan(bytes));
  crypto::Wipe(bytes);
  return secret;
}

void SetTimestamp(std::int64_t micros, google::protobuf::Timestamp& timestamp) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(Duration(micros));
  timestamp.set_seconds(seconds.count());
  timestamp.set_nanos(static_cast<std::int32_t>((micros - Duration(seconds).count()) * 1000));
}

}  // namespace

StatusOr<AuthorityStore> AuthorityStore::Open(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(storage::Database database, storage::Database::Open(path, kMigrations));
  // An erased secret is overwritten in the file, not only unlinked from the tree.
  CHORALE_RETURN_IF_ERROR(database.Execute("PRAGMA secure_delete = ON"));
  return AuthorityStore(std::move(database));
}

Status AuthorityStore::AddInvitation(const StoredInvitation& invitation) {
  CHORALE_ASSIGN_OR_RETURN(
      storage::Statement insert,
      database_.Prepare("INSERT INTO invitations (token_id, role, name, dns_names, ip_addresses, "
                        "certificate_validity, created_at, expires_at, secret) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  insert.Bind(1, invitation.token_id)
      .Bind(2, std::int64_t{invitation.role})
      .Bind(3, invitation.name)
      .Bind(4, JoinLines(invitation.dns_names))
      .Bind(5, JoinLines(invitation.ip_addresses))
      .Bind(6, std::int64_t{invitation.certificate_validity.count()})
      .Bind(7, ToMicros(invitation.created_at))
      .Bind(8, ToMicros(invitation.expires_at))
      .Bind(9, invitation.secret->Reveal());
  return insert.Run();
}

StatusOr<std::optional<StoredInvitation>> AuthorityStore::FindInvitation(
    std::string_view token_id) {
  CHORALE_ASSIGN_OR_RETURN(
      storage::Statement select,
      database_.Prepare(
          "SELECT role, name, dns_names, ip_addresses, certificate_validity, created_at, "
          "expires_at, secret, used_at, serial, withdrawn_at "
          "FROM invitations WHERE token_id = ?"));
  select.Bind(1, token_id);
  CHORALE_ASSIGN_OR_RETURN(const bool is_found, select.Step());
  if (!is_found) return std::optional<StoredInvitation>();
  return std::optional<StoredInvitation>(
      StoredInvitation{.token_id = std::string(token_id),
                       .role = static_cast<v1::PartyRole>(select.Int(0)),
                       .name = select.Text(1),
                       .dns_names = SplitLines(select.Text(2)),
                       .ip_addresses = SplitLines(select.Text(3)),
                       .certificate_validity = Duration(select.Int(4)),
                       .created_at = FromMicros(select.Int(5)),
                       .expires_at = FromMicros(select.Int(6)),
                       .secret = OptionalSecret(select, 7),
                       .used_at = OptionalTime(select, 8),
                       .serial = select.IsNull(9) ? std::string() : select.Text(9),
                       .withdrawn_at = OptionalTime(select, 10)});
}

Status AuthorityStore::MarkUsed(std::string_view token_id, std::string_view serial, Time now) {
  CHORALE_ASSIGN_OR_RETURN(
      storage::Statement update,
      database_.Prepare("UPDATE invitations SET used_at = ?, serial = ?, secret = NULL "
                        "WHERE token_id = ? AND used_at IS NULL"));
  update.Bind(1, ToMicros(now)).Bind(2, serial).Bind(3, token_id);
  return update.Run();
}

Status AuthorityStore::WithdrawInvitations(v1::PartyRole role, std::string_view name, Time now) {
  CHORALE_ASSIGN_OR_RETURN(
      storage::Statement update,
      database_.Prepare(
          "UPDATE invitations SET withdrawn_at = ?, secret = NULL WHERE role = ? AND name = ? "
          "AND used_at IS NULL AND withdrawn_at IS NULL"));
  update.Bind(1, ToMicros(now)).Bind(2, std::int64_t{role}).Bind(3, name);
  return update.Run();
}

Status AuthorityStore::RecordCertificate(const StoredInvitation& invitation,
                                         const crypto::Certificate& certificate, Time now) {
  CHORALE_ASSIGN_OR_RETURN(
      storage::Statement insert,
      database_.Prepare("INSERT INTO certificates (serial, role, name, token_id, issued_at, pem) "
                        "VALUES (?, ?, ?, ?, ?, ?)"));
  insert.Bind(1, certificate.serial())
      .Bind(2, std::int64_t{invitation.role})
      .Bind(3, invitation.name)
      .Bind(4, invitation.token_id)
      .Bind(5, ToMicros(now))
      .Bind(6, certificate.pem());
  CHORALE_RETURN_IF_ERROR(insert.Run());
  CHORALE_ASSIGN_OR_RETURN(
      storage::Statement upsert,
      database_.Prepare("INSERT INTO members (role, name, serial, not_after) VALUES (?, ?, ?, ?) "
                        "ON CONFLICT (role, name) DO UPDATE SET serial = excluded.serial, "
                        "not_after = excluded.not_after, revoked_at = NULL, reason = NULL"));
  upsert.Bind(1, std::int64_t{invitation.role})
      .Bind(2, invitation.name)
      .Bind(3, certificate.serial())
      .Bind(4, ToMicros(certificate.fields().not_after));
  return upsert.Run();
}

StatusOr<std::optional<StoredMember>> AuthorityStore::FindMember(v1::PartyRole role,
                                                                 std::string_view name) {
  CHORALE_ASSIGN_OR_RETURN(
      storage::Statement select,
      database_.Prepare(
          "SELECT serial, not_after, revoked_at FROM members WHERE role = ? AND name = ?"));
  select.Bind(1, std::int64_t{role}).Bind(2, name);
  CHORALE_ASSIGN_OR_RETURN(const bool is_found, select.Step());
  if (!is_found) return std::optional<StoredMember>();
  return std::optional<StoredMember>(StoredMember{.serial = select.Text(0),
                                                  .not_after = FromMicros(select.Int(1)),
                                                  .revoked_at = OptionalTime(select, 2)});
}

Status AuthorityStore::MarkRevoked(v1::PartyRole role, std::string_view name,
                                   std::string_view reason, Time now) {
  CHORALE_ASSIGN_OR_RETURN(
      storage::Statement update,
      database_.Prepare(
          "UPDATE members SET revoked_at = ?, reason = ? WHERE role = ? AND name = ?"));
  update.Bind(1, ToMicros(now)).Bind(2, reason).Bind(3, std::int64_t{role}).Bind(4, name);
  return update.Run();
}

Status AuthorityStore::AdvanceRoster(Time now) {
  CHORALE_ASSIGN_OR_RETURN(
      storage::Statement upsert,
      database_.Prepare(
          "INSERT INTO roster (id, version, issued_at) VALUES (1, 1, ?) "
          "ON CONFLICT (id) DO UPDATE SET version = version + 1, issued_at = excluded.issued_at"));
  upsert.Bind(1, ToMicros(now));
  return upsert.Run();
}

StatusOr<v1::Roster> AuthorityStore::LoadRoster(std::string_view federation) {
  CHORALE_ASSIGN_OR_RETURN(storage::Statement head,
                           database_.Prepare("SELECT version, issued_at FROM roster WHERE id = 1"));
  CHORALE_ASSIGN_OR_RETURN(const bool is_found, head.Step());
  if (!is_found) return DataLoss("authority.db holds no roster version: restore it from a backup");
  v1::Roster roster;
  roster.set_federation(std::string(federation));
  roster.set_version(static_cast<std::uint64_t>(head.Int(0)));
  SetTimestamp(head.Int(1), *roster.mutable_issued_at());
  CHORALE_ASSIGN_OR_RETURN(
      storage::Statement members,
      database_.Prepare(
          "SELECT role, name, serial, revoked_at, reason FROM members ORDER BY role, name"));
  while (true) {
    CHORALE_ASSIGN_OR_RETURN(const bool has_row, members.Step());
    if (!has_row) return roster;
    v1::RosterEntry& member = *roster.add_members();
    member.set_role(static_cast<v1::PartyRole>(members.Int(0)));
    member.set_name(members.Text(1));
    member.set_serial(members.Text(2));
    if (members.IsNull(3)) continue;
    SetTimestamp(members.Int(3), *member.mutable_revoked_at());
    member.set_revocation_reason(members.Text(4));
  }
}

Status AuthorityStore::EraseRemains() {
  return database_.Execute("PRAGMA wal_checkpoint(TRUNCATE)");
}

}  // namespace chorale::identity
