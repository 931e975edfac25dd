#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "core/bytes.h"
#include "core/status.h"
#include "core/storage/sqlite.h"
#include "privacy/ledger/entry.h"

// The rows on disk, each with its digest. For this folder alone.
namespace chorale::privacy {

// Takes each row in order. An error ends the reading.
using EntryVisitor = std::function<Status(std::uint64_t seq, ByteSpan entry)>;

// Not thread-safe.
class EntryStore {
 public:
  // Creates what is missing. Errors of storage::Database.
  [[nodiscard]] static StatusOr<EntryStore> Open(const std::filesystem::path& path);
  // To be read while another process appends. NOT_FOUND: there is no file.
  [[nodiscard]] static StatusOr<EntryStore> OpenReadOnly(const std::filesystem::path& path);

  // Every row as of one moment, and the newest. DATA_LOSS: a row is missing, out of place, or not
  // what its digest says.
  [[nodiscard]] StatusOr<LedgerHead> ReadAll(const EntryVisitor& visit);
  // The digest of a row. None: there is no such row.
  [[nodiscard]] StatusOr<std::optional<crypto::Digest>> DigestOf(std::uint64_t seq);
  // Durable when this returns OK; one sync of the disk. FAILED_PRECONDITION: `before` is not the
  // newest row, for somebody else wrote. Other errors may leave the row behind or not.
  [[nodiscard]] Status Append(const LedgerHead& before, ByteSpan entry);

 private:
  explicit EntryStore(storage::Database database) : database_(std::move(database)) {}
  storage::Database database_;
};

}  // namespace chorale::privacy
