#pragma once

#include <deque>
#include <filesystem>
#include <optional>

#include "core/crypto/digest.h"
#include "core/status.h"
#include "core/storage/sqlite.h"
#include "secagg/differencing_guard.h"

// What this site must not forget of secure aggregation, under its state directory: promises.db
// (SQLite), one row for each
//   nonces   nonce of a session that was begun: it is taken once
//   sums     sum that the site helped to reveal: no other that differs by one site
// Nothing of it is secret. Who deletes the file, or puts an older copy in its place, makes the site
// forget.
namespace chorale::site_agent {

// Errors of every call: DATA_LOSS for a damaged file, which is never taken for an empty one; else
// the disk's. Not thread-safe: the worker's.
class Promises {
 public:
  // The oldest are forgotten beyond these; of sums, those of the job that is recorded.
  static constexpr std::size_t kMostNonces = 1000;
  static constexpr std::size_t kMostSumsOfAJob = secagg::DifferencingGuard::kMostSums;
  static constexpr std::size_t kMostSums = 100'000;

  // Reads all of it once, so that damage shows before a session begins. FAILED_PRECONDITION:
  // written by a newer version.
  [[nodiscard]] static StatusOr<Promises> Open(const std::filesystem::path& state_directory);

  // Durable when these return OK. Repeating one is OK.
  [[nodiscard]] Status RecordNonce(const crypto::Digest& nonce);
  [[nodiscard]] Status RecordSum(const crypto::Digest& job, const secagg::RevealedSum& sum);

  // Oldest first.
  [[nodiscard]] StatusOr<std::deque<crypto::Digest>> Nonces();
  [[nodiscard]] StatusOr<std::deque<secagg::RevealedSum>> SumsOf(const crypto::Digest& job);

 private:
  struct Statements {
    storage::Statement insert_nonce;
    storage::Statement trim_nonces;
    storage::Statement all_nonces;
    storage::Statement insert_sum;
    storage::Statement trim_sums_of_job;
    storage::Statement trim_sums;
    storage::Statement sums_of_job;
  };

  explicit Promises(storage::Database database) : database_(std::move(database)) {}
  [[nodiscard]] Status Prepare();
  [[nodiscard]] Status CheckEverything();

  storage::Database database_;
  std::optional<Statements> statements_;  // Set by Open. Ends before its database.
};

}  // namespace chorale::site_agent
