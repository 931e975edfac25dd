#include "privacy/ledger/entry_store.h"

#include <array>
#include <string>
#include <utility>

namespace chorale::privacy {
namespace {

// The triggers are no defence against somebody who writes to the file, which the digests notice:
// they keep programs honest.
constexpr std::array<storage::Migration, 1> kMigrations = {storage::Migration{R"sql(
  CREATE TABLE entries (
    seq INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    entry BLOB NOT NULL
  ) STRICT;
  CREATE TRIGGER entries_stay BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;
  CREATE TRIGGER entries_are_final BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;
)sql"}};

constexpr std::string_view kSelectAll = "SELECT seq, digest, entry FROM entries ORDER BY seq";
constexpr std::string_view kSelectDigest = "SELECT digest FROM entries WHERE seq = ?1";
constexpr std::string_view kSelectNewest =
    "SELECT seq, digest FROM entries ORDER BY seq DESC LIMIT 1";
constexpr std::string_view kInsert = "INSERT INTO entries (seq, digest, entry) VALUES (?1, ?2, ?3)";

Status Damaged(std::uint64_t seq, std::string_view what) {
  return DataLoss("row " + std::to_string(seq) + " of the ledger " + std::string(what) +
                  ": restore the file; what was spent is not known without it");
}

}  // namespace

StatusOr<EntryStore> EntryStore::Open(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(storage::Database database, storage::Database::Open(path, kMigrations));
  return EntryStore(std::move(database));
}

StatusOr<EntryStore> EntryStore::OpenReadOnly(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(storage::Database database,
                           storage::Database::OpenReadOnly(path, kMigrations));
  return EntryStore(std::move(database));
}

StatusOr<LedgerHead> EntryStore::ReadAll(const EntryVisitor& visit) {
  CHORALE_ASSIGN_OR_RETURN(storage::Statement select, database_.Prepare(kSelectAll));
  LedgerHead head;
  while (true) {
    CHORALE_ASSIGN_OR_RETURN(const bool has_row, select.Step());
    if (!has_row) return head;
    const Bytes entry = select.Blob(2);
    const LedgerHead next = Extend(head, entry);
    if (select.Int(0) != static_cast<std::int64_t>(next.seq)) {
      return Damaged(next.seq, "is missing");
    }
    if (select.Blob(1) != Bytes(next.digest.begin(), next.digest.end())) {
      return Damaged(next.seq, "is not what was written");
    }
    CHORALE_RETURN_IF_ERROR(visit(next.seq, entry));
    head = next;
  }
}

StatusOr<std::optional<crypto::Digest>> EntryStore::DigestOf(std::uint64_t seq) {
  CHORALE_ASSIGN_OR_RETURN(storage::Statement select, database_.Prepare(kSelectDigest));
  select.Bind(1, static_cast<std::int64_t>(seq));
  CHORALE_ASSIGN_OR_RETURN(const bool has_row, select.Step());
  if (!has_row) return std::optional<crypto::Digest>();
  const StatusOr<crypto::Digest> digest = crypto::DigestFromBytes(select.Blob(0));
  if (!digest.ok()) return Damaged(seq, "has no digest");
  return std::optional<crypto::Digest>(*digest);
}

Status EntryStore::Append(const LedgerHead& before, ByteSpan entry) {
  CHORALE_ASSIGN_OR_RETURN(storage::Transaction transaction,
                           storage::Transaction::Begin(database_));
  {
    CHORALE_ASSIGN_OR_RETURN(storage::Statement newest, database_.Prepare(kSelectNewest));
    CHORALE_ASSIGN_OR_RETURN(const bool has_row, newest.Step());
    const bool is_newest =
        has_row ? newest.Int(0) == static_cast<std::int64_t>(before.seq) &&
                      newest.Blob(1) == Bytes(before.digest.begin(), before.digest.end())
                : before.seq == 0;
    if (!is_newest) {
      return FailedPrecondition(
          "the ledger's file has other rows than this process wrote: two agents must not share a "
          "state directory; stop the other one, then start this one again");
    }
  }
  const LedgerHead head = Extend(before, entry);
  {
    CHORALE_ASSIGN_OR_RETURN(storage::Statement insert, database_.Prepare(kInsert));
    CHORALE_RETURN_IF_ERROR(insert.Bind(1, static_cast<std::int64_t>(head.seq))
                                .Bind(2, ByteSpan(head.digest))
                                .Bind(3, entry)
                                .Run());
  }
  return transaction.Commit();
}

}  // namespace chorale::privacy
