#include "coordinator/sqlite_store.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "coordinator/store_schema.h"
#include "coordinator/time_codec.h"
#include "core/storage/sqlite.h"

namespace chorale::coordinator {
namespace {

using storage::Database;
using storage::Statement;
using storage::Transaction;

constexpr std::string_view kRosterVersion = "roster_version";

std::string JoinNames(const std::vector<std::string>& names) {
  std::string joined;
  for (const std::string& name : names) joined += (joined.empty() ? "" : ",") + name;
  return joined;
}

std::vector<std::string> SplitNames(const std::string& joined) {
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin < joined.size();) {
    const std::size_t end = std::min(joined.find(',', begin), joined.size());
    names.push_back(joined.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

StatusOr<crypto::BlobId> BlobIdAt(const Statement& row, int digest_column, int size_column) {
  CHORALE_ASSIGN_OR_RETURN(const crypto::Digest digest,
                           crypto::DigestFromBytes(row.Blob(digest_column)));
  return crypto::BlobId{static_cast<std::uint64_t>(row.Int(size_column)), digest};
}

constexpr std::string_view kSubmissionColumns =
    "id, researcher, idempotency_key, envelope, submitted_us";

StatusOr<StoredSubmission> SubmissionAt(const Statement& row) {
  StoredSubmission submission{.id = JobId(row.Text(0)),
                              .researcher = ResearcherId(row.Text(1)),
                              .idempotency_key = row.Text(2),
                              .envelope = {},
                              .submitted_at = FromMicros(row.Int(4))};
  const Bytes envelope = row.Blob(3);
  if (!submission.envelope.ParseFromArray(envelope.data(), static_cast<int>(envelope.size()))) {
    return DataLoss("the stored envelope of job " + submission.id.value() + " is damaged");
  }
  return submission;
}

// SQLite does not notice a flipped bit within a value.
Bytes ChecksumOf(const JobId& job, ByteSpan event) {
  constexpr std::size_t kChecksumBytes = 8;
  crypto::Sha256Hasher hasher;
  hasher.Update(AsBytes(job.value()));
  hasher.Update(ByteSpan(event));
  const crypto::Digest digest = std::move(hasher).Finish();
  return {digest.begin(), digest.begin() + kChecksumBytes};
}

// Runs a query and hands each row to `take`, which returns a Status.
template <typename Take>
Status ForEachRow(Statement& query, Take take) {
  while (true) {
    CHORALE_ASSIGN_OR_RETURN(const bool has_row, query.Step());
    if (!has_row) return OkStatus();
    if (const Status taken = take(query); !taken.ok()) {
      query.Reset();
      return taken;
    }
  }
}

}  // namespace

struct SqliteJobStore::State {
  explicit State(Database opened) : database(std::move(opened)) {}

  Database database;  // Outlives the statements.
  // The statements of every round, prepared once.
  std::optional<Statement> insert_event;
  std::optional<Statement> insert_blob;
  std::optional<Statement> insert_name;

  Status Prepare() {
    const auto prepare = [&](std::optional<Statement>& into, std::string_view sql) {
      StatusOr<Statement> statement = database.Prepare(sql);
      if (statement.ok()) into.emplace(*std::move(statement));
      return statement.status();
    };
    CHORALE_RETURN_IF_ERROR(prepare(
        insert_event,
        "INSERT INTO events SELECT ?1, 1 + coalesce((SELECT max(sequence) FROM events WHERE "
        "job = ?1), 0), ?2, ?3"));
    CHORALE_RETURN_IF_ERROR(prepare(
        insert_blob, "INSERT INTO blobs VALUES (?1, ?2, ?3) ON CONFLICT (digest) DO NOTHING"));
    return prepare(insert_name, "INSERT INTO blob_names VALUES (?1, ?2, ?3)");
  }

  Status Insert(const StoredSubmission& submission) {
    CHORALE_ASSIGN_OR_RETURN(
        Statement insert,
        database.Prepare("INSERT INTO jobs (id, researcher, idempotency_key, envelope, "
                         "submitted_us) VALUES (?1, ?2, ?3, ?4, ?5)"));
    const std::string envelope = submission.envelope.SerializeAsString();
    return insert.Bind(1, submission.id.value())
        .Bind(2, submission.researcher.value())
        .Bind(3, submission.idempotency_key)
        .Bind(4, AsBytes(envelope))
        .Bind(5, ToMicros(submission.submitted_at))
        .Run();
  }

  Status Insert(const Batch::Event& event) {
    const std::string bytes = event.event.SerializeAsString();
    return insert_event->Bind(1, event.job.value())
        .Bind(2, AsBytes(bytes))
        .Bind(3, ChecksumOf(event.job, AsBytes(bytes)))
        .Run();
  }

  Status Insert(const Batch::Blob& blob) {
    insert_blob->Bind(1, ByteSpan(blob.id.digest))
        .Bind(2, static_cast<std::int64_t>(blob.id.size_bytes));
    if (blob.bytes != nullptr) {
      insert_blob->Bind(3, ByteSpan(*blob.bytes));
    } else {
      insert_blob->BindNull(3);
    }
    CHORALE_RETURN_IF_ERROR(insert_blob->Run());
    return insert_name->Bind(1, blob.job.value())
        .Bind(2, blob.name)
        .Bind(3, ByteSpan(blob.id.digest))
        .Run();
  }

  Status Drop(const Batch::DroppedBlobs& dropped, std::set<Bytes>& candidates) {
    CHORALE_ASSIGN_OR_RETURN(
        Statement names,
        database.Prepare("DELETE FROM blob_names WHERE job = ?1 AND substr(name, 1, length(?2)) "
                         "= ?2 RETURNING digest"));
    names.Bind(1, dropped.job.value()).Bind(2, dropped.name_prefix);
    return ForEachRow(names, [&](const Statement& row) {
      candidates.insert(row.Blob(0));
      return OkStatus();
    });
  }

  // Removes those of `candidates` that no name leads to, and tells which.
  StatusOr<std::vector<crypto::BlobId>> RemoveUnnamed(const std::set<Bytes>& candidates) {
    std::vector<crypto::BlobId> removed;
    if (candidates.empty()) return removed;
    CHORALE_ASSIGN_OR_RETURN(
        Statement remove,
        database.Prepare("DELETE FROM blobs WHERE digest = ?1 AND NOT EXISTS (SELECT 1 FROM "
                         "blob_names WHERE digest = ?1) RETURNING digest, size_bytes"));
    for (const Bytes& digest : candidates) {
      remove.Bind(1, ByteSpan(digest));
      CHORALE_RETURN_IF_ERROR(ForEachRow(remove, [&](const Statement& row) -> Status {
        CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId id, BlobIdAt(row, 0, 1));
        removed.push_back(id);
        return OkStatus();
      }));
    }
    return removed;
  }

  Status Write(const Batch::EndedJob& ended) {
    CHORALE_ASSIGN_OR_RETURN(Statement update,
                             database.Prepare("UPDATE jobs SET summary = ?2 WHERE id = ?1"));
    const std::string summary = ended.summary.SerializeAsString();
    return update.Bind(1, ended.id.value()).Bind(2, AsBytes(summary)).Run();
  }

  Status Write(const SiteId& id, const StoredSite& site) {
    CHORALE_ASSIGN_OR_RETURN(
        Statement upsert,
        database.Prepare("INSERT INTO sites VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON "
                         "CONFLICT (id) DO UPDATE SET last_seen_us = ?2, agent_version = ?3, "
                         "datasets = ?4, lineage = ?5, epoch = ?6, instance = ?7, ledger_seq = ?8, "
                         "ledger_digest = ?9, clock_skew_us = ?10"));
    upsert.Bind(1, id.value())
        .Bind(2, ToMicros(site.last_seen))
        .Bind(3, site.agent_version)
        .Bind(4, JoinNames(site.datasets))
        .Bind(5, site.lineage)
        .Bind(6, static_cast<std::int64_t>(site.epoch))
        .Bind(7, site.instance);
    if (site.receipt.has_value()) {
      upsert.Bind(8, static_cast<std::int64_t>(site.receipt->seq))
          .Bind(9, ByteSpan(site.receipt->digest));
    }
    if (site.clock_skew.has_value()) upsert.Bind(10, site.clock_skew->count());
    return upsert.Run();
  }

  Status WriteFact(std::string_view name, std::uint64_t value) {
    CHORALE_ASSIGN_OR_RETURN(
        Statement upsert,
        database.Prepare(
            "INSERT INTO facts VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2"));
    return upsert.Bind(1, name).Bind(2, static_cast<std::int64_t>(value)).Run();
  }

  StatusOr<std::vector<v1::JobEvent>> LoadEvents(const JobId& job) {
    CHORALE_ASSIGN_OR_RETURN(
        Statement query,
        database.Prepare(
            "SELECT event, sequence, checksum FROM events WHERE job = ?1 ORDER BY sequence"));
    query.Bind(1, job.value());
    std::vector<v1::JobEvent> events;
    CHORALE_RETURN_IF_ERROR(ForEachRow(query, [&](const Statement& row) {
      const Bytes bytes = row.Blob(0);
      const bool is_next = row.Int(1) == static_cast<std::int64_t>(events.size()) + 1;
      const bool is_sound = row.IsNull(2) || row.Blob(2) == ChecksumOf(job, bytes);
      if (!is_next || !is_sound ||
          !events.emplace_back().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return DataLoss("stored event " + std::to_string(row.Int(1)) + " of job " + job.value() +
                        " is damaged: restore the state directory from a backup");
      }
      return OkStatus();
    }));
    return events;
  }

  StatusOr<StoredSubmission> LoadOneSubmission(Statement& query, std::string_view not_found) {
    std::optional<StoredSubmission> submission;
    CHORALE_RETURN_IF_ERROR(ForEachRow(query, [&](const Statement& row) -> Status {
      CHORALE_ASSIGN_OR_RETURN(submission, SubmissionAt(row));
      return OkStatus();
    }));
    if (!submission.has_value()) return NotFound(not_found);
    return *std::move(submission);
  }
};

SqliteJobStore::SqliteJobStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
SqliteJobStore::~SqliteJobStore() = default;

StatusOr<std::unique_ptr<SqliteJobStore>> SqliteJobStore::Open(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(Database database, Database::Open(path, kMigrations));
  CHORALE_RETURN_IF_ERROR(database.Execute("PRAGMA foreign_keys = ON"));
  auto state = std::make_unique<State>(std::move(database));
  CHORALE_RETURN_IF_ERROR(state->Prepare());
  return std::unique_ptr<SqliteJobStore>(new SqliteJobStore(std::move(state)));
}

StatusOr<std::vector<crypto::BlobId>> SqliteJobStore::Append(const Batch& batch) {
  if (batch.empty()) return std::vector<crypto::BlobId>{};
  CHORALE_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(state_->database));
  for (const StoredSubmission& submission : batch.submissions) {
    CHORALE_RETURN_IF_ERROR(state_->Insert(submission));
  }
  for (const Batch::Event& event : batch.events) {
    CHORALE_RETURN_IF_ERROR(Annotate(state_->Insert(event), "job " + event.job.value()));
  }
  for (const Batch::Blob& blob : batch.kept) CHORALE_RETURN_IF_ERROR(state_->Insert(blob));
  std::set<Bytes> candidates;
  for (const Batch::DroppedBlobs& dropped : batch.dropped) {
    CHORALE_RETURN_IF_ERROR(state_->Drop(dropped, candidates));
  }
  CHORALE_ASSIGN_OR_RETURN(std::vector<crypto::BlobId> removed, state_->RemoveUnnamed(candidates));
  for (const Batch::EndedJob& ended : batch.ended) CHORALE_RETURN_IF_ERROR(state_->Write(ended));
  for (const auto& [id, site] : batch.sites) CHORALE_RETURN_IF_ERROR(state_->Write(id, site));
  if (batch.roster_version.has_value()) {
    CHORALE_RETURN_IF_ERROR(state_->WriteFact(kRosterVersion, *batch.roster_version));
  }
  CHORALE_RETURN_IF_ERROR(transaction.Commit());
  return removed;
}

StatusOr<std::vector<StoredJob>> SqliteJobStore::LoadUnfinished() {
  CHORALE_ASSIGN_OR_RETURN(
      Statement query,
      state_->database.Prepare("SELECT " + std::string(kSubmissionColumns) +
                               " FROM jobs WHERE summary IS NULL ORDER BY sequence"));
  std::vector<StoredJob> jobs;
  CHORALE_RETURN_IF_ERROR(ForEachRow(query, [&](const Statement& row) -> Status {
    CHORALE_ASSIGN_OR_RETURN(StoredSubmission submission, SubmissionAt(row));
    jobs.push_back({std::move(submission), {}});
    return OkStatus();
  }));
  for (StoredJob& job : jobs) {
    CHORALE_ASSIGN_OR_RETURN(job.events, state_->LoadEvents(job.submission.id));
  }
  return jobs;
}

StatusOr<StoredJob> SqliteJobStore::LoadJob(const JobId& id) {
  CHORALE_ASSIGN_OR_RETURN(Statement query,
                           state_->database.Prepare("SELECT " + std::string(kSubmissionColumns) +
                                                    " FROM jobs WHERE id = ?1"));
  query.Bind(1, id.value());
  CHORALE_ASSIGN_OR_RETURN(StoredSubmission submission,
                           state_->LoadOneSubmission(query, "there is no such job"));
  CHORALE_ASSIGN_OR_RETURN(std::vector<v1::JobEvent> events, state_->LoadEvents(id));
  return StoredJob{std::move(submission), std::move(events)};
}

StatusOr<bool> SqliteJobStore::HasEnded(const JobId& id) {
  CHORALE_ASSIGN_OR_RETURN(
      Statement query,
      state_->database.Prepare("SELECT 1 FROM jobs WHERE id = ?1 AND summary IS NOT NULL"));
  query.Bind(1, id.value());
  return query.Step();
}

StatusOr<std::vector<v1::JobSummary>> SqliteJobStore::ListJobs(std::uint32_t limit) {
  CHORALE_ASSIGN_OR_RETURN(
      Statement query,
      state_->database.Prepare("SELECT id, summary FROM jobs ORDER BY sequence DESC LIMIT ?1"));
  query.Bind(1, static_cast<std::int64_t>(limit));
  std::vector<v1::JobSummary> summaries;
  CHORALE_RETURN_IF_ERROR(ForEachRow(query, [&](const Statement& row) {
    v1::JobSummary& summary = summaries.emplace_back();
    const Bytes bytes = row.Blob(1);
    if (!summary.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return DataLoss("the stored summary of job " + row.Text(0) + " is damaged");
    }
    summary.set_job_id(row.Text(0));
    return OkStatus();
  }));
  return summaries;
}

StatusOr<StoredSubmission> SqliteJobStore::FindSubmission(const ResearcherId& researcher,
                                                          std::string_view idempotency_key) {
  CHORALE_ASSIGN_OR_RETURN(
      Statement query,
      state_->database.Prepare("SELECT " + std::string(kSubmissionColumns) +
                               " FROM jobs WHERE researcher = ?1 AND idempotency_key = ?2"));
  query.Bind(1, researcher.value()).Bind(2, idempotency_key);
  return state_->LoadOneSubmission(query, "no job was submitted under this key");
}

StatusOr<std::vector<crypto::BlobId>> SqliteJobStore::ListBlobs() {
  CHORALE_ASSIGN_OR_RETURN(Statement query,
                           state_->database.Prepare("SELECT digest, size_bytes FROM blobs"));
  std::vector<crypto::BlobId> blobs;
  CHORALE_RETURN_IF_ERROR(ForEachRow(query, [&](const Statement& row) -> Status {
    CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId id, BlobIdAt(row, 0, 1));
    blobs.push_back(id);
    return OkStatus();
  }));
  return blobs;
}

StatusOr<std::vector<KeptBlob>> SqliteJobStore::LoadBlobsOfUnfinished() {
  CHORALE_ASSIGN_OR_RETURN(
      Statement query,
      state_->database.Prepare(
          "SELECT digest, size_bytes, content FROM blobs WHERE digest IN (SELECT n.digest FROM "
          "blob_names n JOIN jobs j ON j.id = n.job WHERE j.summary IS NULL)"));
  std::vector<KeptBlob> blobs;
  CHORALE_RETURN_IF_ERROR(ForEachRow(query, [&](const Statement& row) -> Status {
    CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId id, BlobIdAt(row, 0, 1));
    auto content = row.IsNull(2) ? nullptr : std::make_shared<const Bytes>(row.Blob(2));
    if (content != nullptr && crypto::IdentifyBlob(*content) != id) {
      return DataLoss("a stored payload is damaged: restore the state directory from a backup");
    }
    blobs.push_back({id, std::move(content)});
    return OkStatus();
  }));
  return blobs;
}

StatusOr<Bytes> SqliteJobStore::LoadBlob(const crypto::BlobId& id) {
  CHORALE_ASSIGN_OR_RETURN(
      Statement query, state_->database.Prepare(
                           "SELECT content FROM blobs WHERE digest = ?1 AND content IS NOT NULL"));
  query.Bind(1, ByteSpan(id.digest));
  CHORALE_ASSIGN_OR_RETURN(const bool has_row, query.Step());
  if (!has_row) return NotFound("no small payload of this digest is kept");
  Bytes content = query.Blob(0);
  if (crypto::IdentifyBlob(content) != id) return DataLoss("a stored payload is damaged");
  return content;
}

StatusOr<std::map<SiteId, StoredSite>> SqliteJobStore::LoadSites() {
  CHORALE_ASSIGN_OR_RETURN(
      Statement query,
      state_->database.Prepare("SELECT id, last_seen_us, agent_version, datasets, lineage, epoch, "
                               "instance, ledger_seq, ledger_digest, clock_skew_us FROM sites"));
  std::map<SiteId, StoredSite> sites;
  CHORALE_RETURN_IF_ERROR(ForEachRow(query, [&](const Statement& row) -> Status {
    StoredSite site{.last_seen = FromMicros(row.Int(1)),
                    .agent_version = row.Text(2),
                    .datasets = SplitNames(row.Text(3)),
                    .lineage = row.Text(4),
                    .epoch = static_cast<std::uint64_t>(row.Int(5)),
                    .instance = row.Text(6)};
    if (!row.IsNull(7)) {
      CHORALE_ASSIGN_OR_RETURN(const crypto::Digest digest, crypto::DigestFromBytes(row.Blob(8)));
      site.receipt = LedgerReceipt{static_cast<std::uint64_t>(row.Int(7)), digest};
    }
    if (!row.IsNull(9)) site.clock_skew = Duration(row.Int(9));
    sites.emplace(row.Text(0), std::move(site));
    return OkStatus();
  }));
  return sites;
}

StatusOr<std::uint64_t> SqliteJobStore::RosterVersion() {
  CHORALE_ASSIGN_OR_RETURN(Statement query,
                           state_->database.Prepare("SELECT value FROM facts WHERE name = ?1"));
  query.Bind(1, kRosterVersion);
  CHORALE_ASSIGN_OR_RETURN(const bool has_row, query.Step());
  return has_row ? static_cast<std::uint64_t>(query.Int(0)) : 0;
}

Status SqliteJobStore::RecordStart(Time when) {
  CHORALE_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(state_->database));
  {
    CHORALE_ASSIGN_OR_RETURN(Statement insert,
                             state_->database.Prepare("INSERT INTO starts (time_us) VALUES (?1)"));
    CHORALE_RETURN_IF_ERROR(insert.Bind(1, ToMicros(when)).Run());
    CHORALE_ASSIGN_OR_RETURN(
        Statement trim,
        state_->database.Prepare(
            "DELETE FROM starts WHERE sequence <= (SELECT max(sequence) FROM starts) - ?1"));
    CHORALE_RETURN_IF_ERROR(trim.Bind(1, static_cast<std::int64_t>(kMostStarts)).Run());
  }
  return transaction.Commit();
}

StatusOr<std::vector<Time>> SqliteJobStore::LoadStarts() {
  CHORALE_ASSIGN_OR_RETURN(
      Statement query, state_->database.Prepare("SELECT time_us FROM starts ORDER BY sequence"));
  std::vector<Time> starts;
  CHORALE_RETURN_IF_ERROR(ForEachRow(query, [&](const Statement& row) {
    starts.push_back(FromMicros(row.Int(0)));
    return OkStatus();
  }));
  return starts;
}

StatusOr<std::uint64_t> SqliteJobStore::NumEvents() {
  CHORALE_ASSIGN_OR_RETURN(Statement query,
                           state_->database.Prepare("SELECT count(*) FROM events"));
  CHORALE_ASSIGN_OR_RETURN(const bool has_row, query.Step());
  return has_row ? static_cast<std::uint64_t>(query.Int(0)) : 0;
}

}  // namespace chorale::coordinator
