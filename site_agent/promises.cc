#include "site_agent/promises.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/bytes.h"
#include "core/ids.h"

namespace chorale::site_agent {
namespace {

constexpr std::array<storage::Migration, 1> kMigrations = {storage::Migration{R"sql(
  CREATE TABLE nonces (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    nonce BLOB NOT NULL UNIQUE
  );
  CREATE TABLE sums (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_digest BLOB NOT NULL,
    model BLOB NOT NULL,
    task BLOB NOT NULL,
    sites TEXT NOT NULL,    -- Ascending, one a line.
    UNIQUE (job_digest, model, task, sites)
  );
)sql"}};

constexpr std::string_view kInsertNonce = "INSERT OR IGNORE INTO nonces (nonce) VALUES (?1)";
constexpr std::string_view kTrimNonces =
    "DELETE FROM nonces WHERE id <= (SELECT max(id) FROM nonces) - ?1";
constexpr std::string_view kAllNonces = "SELECT nonce FROM nonces ORDER BY id";
constexpr std::string_view kInsertSum = R"sql(
  INSERT OR IGNORE INTO sums (job_digest, model, task, sites) VALUES (?1, ?2, ?3, ?4))sql";
constexpr std::string_view kTrimSumsOfJob = R"sql(
  DELETE FROM sums WHERE job_digest = ?1 AND id NOT IN
    (SELECT id FROM sums WHERE job_digest = ?1 ORDER BY id DESC LIMIT ?2))sql";
constexpr std::string_view kTrimSums =
    "DELETE FROM sums WHERE id <= (SELECT max(id) FROM sums) - ?1";
constexpr std::string_view kSumsOfJob =
    "SELECT model, task, sites FROM sums WHERE job_digest = ?1 ORDER BY id";
constexpr std::string_view kJobs = "SELECT DISTINCT job_digest FROM sums";

Status Damaged(std::string_view what) {
  return DataLoss("promises.db is damaged: " + std::string(what));
}

std::string JoinSites(const std::vector<SiteId>& sites) {
  std::string text;
  for (const SiteId& site : sites) text += site.value() + "\n";
  return text;
}

StatusOr<std::vector<SiteId>> SplitSites(const std::string& text) {
  std::vector<SiteId> sites;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) return Damaged("a list of sites has no end");
    sites.emplace_back(text.substr(begin, end - begin));
    if (!ValidateName("site", sites.back().value()).ok()) return Damaged("a site has no name");
    begin = end + 1;
  }
  if (sites.empty() || !std::ranges::is_sorted(sites)) {
    return Damaged("a list of sites is not in order");
  }
  return sites;
}

StatusOr<crypto::Digest> DigestIn(const storage::Statement& row, int column) {
  StatusOr<crypto::Digest> digest = crypto::DigestFromBytes(row.Blob(column));
  if (!digest.ok()) return Damaged("a digest does not have 32 bytes");
  return digest;
}

StatusOr<secagg::RevealedSum> SumIn(const storage::Statement& row) {
  secagg::RevealedSum sum;
  CHORALE_ASSIGN_OR_RETURN(sum.model, DigestIn(row, 0));
  CHORALE_ASSIGN_OR_RETURN(sum.task, DigestIn(row, 1));
  CHORALE_ASSIGN_OR_RETURN(sum.sites, SplitSites(row.Text(2)));
  return sum;
}

// Every row, turned into what `read` makes of it.
template <typename Item, typename Read>
StatusOr<std::deque<Item>> ReadAll(storage::Statement& rows, Read read) {
  std::deque<Item> items;
  while (true) {
    CHORALE_ASSIGN_OR_RETURN(const bool has_row, rows.Step());
    if (!has_row) return items;
    StatusOr<Item> item = read(rows);
    if (!item.ok()) {
      rows.Reset();
      return item.status();
    }
    items.push_back(*std::move(item));
  }
}

StatusOr<crypto::Digest> FirstDigest(const storage::Statement& row) { return DigestIn(row, 0); }

}  // namespace

StatusOr<Promises> Promises::Open(const std::filesystem::path& state_directory) {
  CHORALE_ASSIGN_OR_RETURN(storage::Database database,
                           storage::Database::Open(state_directory / "promises.db", kMigrations));
  Promises promises(std::move(database));
  CHORALE_RETURN_IF_ERROR(promises.Prepare());
  CHORALE_RETURN_IF_ERROR(promises.CheckEverything());
  return promises;
}

Status Promises::Prepare() {
  const auto prepare = [this](std::string_view sql) { return database_.Prepare(sql); };
  CHORALE_ASSIGN_OR_RETURN(auto insert_nonce, prepare(kInsertNonce));
  CHORALE_ASSIGN_OR_RETURN(auto trim_nonces, prepare(kTrimNonces));
  CHORALE_ASSIGN_OR_RETURN(auto all_nonces, prepare(kAllNonces));
  CHORALE_ASSIGN_OR_RETURN(auto insert_sum, prepare(kInsertSum));
  CHORALE_ASSIGN_OR_RETURN(auto trim_sums_of_job, prepare(kTrimSumsOfJob));
  CHORALE_ASSIGN_OR_RETURN(auto trim_sums, prepare(kTrimSums));
  CHORALE_ASSIGN_OR_RETURN(auto sums_of_job, prepare(kSumsOfJob));
  statements_.emplace(Statements{
      std::move(insert_nonce), std::move(trim_nonces), std::move(all_nonces), std::move(insert_sum),
      std::move(trim_sums_of_job), std::move(trim_sums), std::move(sums_of_job)});
  return OkStatus();
}

Status Promises::CheckEverything() {
  CHORALE_ASSIGN_OR_RETURN(storage::Statement check, database_.Prepare("PRAGMA integrity_check"));
  CHORALE_ASSIGN_OR_RETURN(const bool has_row, check.Step());
  if (!has_row || check.Text(0) != "ok") return Damaged("it fails SQLite's integrity check");
  check.Reset();
  CHORALE_RETURN_IF_ERROR(Nonces().status());
  CHORALE_ASSIGN_OR_RETURN(storage::Statement rows, database_.Prepare(kJobs));
  CHORALE_ASSIGN_OR_RETURN(const std::deque<crypto::Digest> jobs,
                           ReadAll<crypto::Digest>(rows, FirstDigest));
  for (const crypto::Digest& job : jobs) CHORALE_RETURN_IF_ERROR(SumsOf(job).status());
  return OkStatus();
}

Status Promises::RecordNonce(const crypto::Digest& nonce) {
  CHORALE_ASSIGN_OR_RETURN(storage::Transaction transaction,
                           storage::Transaction::Begin(database_));
  CHORALE_RETURN_IF_ERROR(statements_->insert_nonce.Bind(1, ByteSpan(nonce)).Run());
  CHORALE_RETURN_IF_ERROR(
      statements_->trim_nonces.Bind(1, static_cast<std::int64_t>(kMostNonces)).Run());
  return transaction.Commit();
}

Status Promises::RecordSum(const crypto::Digest& job, const secagg::RevealedSum& sum) {
  CHORALE_ASSIGN_OR_RETURN(storage::Transaction transaction,
                           storage::Transaction::Begin(database_));
  CHORALE_RETURN_IF_ERROR(statements_->insert_sum.Bind(1, ByteSpan(job))
                              .Bind(2, ByteSpan(sum.model))
                              .Bind(3, ByteSpan(sum.task))
                              .Bind(4, std::string_view(JoinSites(sum.sites)))
                              .Run());
  CHORALE_RETURN_IF_ERROR(statements_->trim_sums_of_job.Bind(1, ByteSpan(job))
                              .Bind(2, static_cast<std::int64_t>(kMostSumsOfAJob))
                              .Run());
  CHORALE_RETURN_IF_ERROR(
      statements_->trim_sums.Bind(1, static_cast<std::int64_t>(kMostSums)).Run());
  return transaction.Commit();
}

StatusOr<std::deque<crypto::Digest>> Promises::Nonces() {
  return ReadAll<crypto::Digest>(statements_->all_nonces, FirstDigest);
}

StatusOr<std::deque<secagg::RevealedSum>> Promises::SumsOf(const crypto::Digest& job) {
  statements_->sums_of_job.Bind(1, ByteSpan(job));
  return ReadAll<secagg::RevealedSum>(statements_->sums_of_job, SumIn);
}

}  // namespace chorale::site_agent
