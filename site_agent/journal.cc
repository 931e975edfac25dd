#include "site_agent/journal.h"

#include <array>
#include <mutex>
#include <set>
#include <utility>

#include "core/crypto/blob_digest.h"
#include "core/storage/blob_store.h"
#include "core/storage/file.h"
#include "core/storage/sqlite.h"

namespace chorale::site_agent {
namespace {

// Below this a payload lies in the database, which saves the syncs of a file of its own.
constexpr std::uint64_t kMaxInlineBytes = 256 << 10;
constexpr std::string_view kHeartbeat = "heartbeat";

constexpr std::array kMigrations = {storage::Migration{R"sql(
  CREATE TABLE tasks (
    task_id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL,
    job_digest BLOB NOT NULL,
    verdict TEXT NOT NULL,
    time_us INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE releases (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    task_id TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    count INTEGER NOT NULL,
    first_time_us INTEGER NOT NULL,
    last_time_us INTEGER NOT NULL
  );
  CREATE TABLE reports (
    id INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    header BLOB,            -- NULL once settled.
    payload BLOB,           -- NULL once settled, or when the outbox holds it.
    payload_size INTEGER NOT NULL,
    payload_digest BLOB NOT NULL,
    outcome TEXT,           -- NULL while it waits for the coordinator.
    settled_time_us INTEGER
  );
  CREATE INDEX pending_reports ON reports (id) WHERE outcome IS NULL;
)sql"},
                                    storage::Migration{R"sql(
  CREATE TABLE coordinators (   -- In order of following; the last is the present one.
    id INTEGER PRIMARY KEY,
    lineage TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    instance TEXT NOT NULL,
    version INTEGER NOT NULL,
    accepts_loss INTEGER NOT NULL
  );
)sql"}};

constexpr std::string_view kUpsertTask = R"sql(
  INSERT INTO tasks (task_id, job_id, job_digest, verdict, time_us) VALUES (?1, ?2, ?3, ?4, ?5)
  ON CONFLICT (task_id) DO UPDATE SET verdict = excluded.verdict, time_us = excluded.time_us)sql";
constexpr std::string_view kInsertRelease = R"sql(
  INSERT INTO releases (kind, task_id, size_bytes, sha256, count, first_time_us, last_time_us)
  VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5))sql";
constexpr std::string_view kRepeatRelease = R"sql(
  UPDATE releases SET count = count + 1, last_time_us = ?1
  WHERE id = (SELECT max(id) FROM releases))sql";
constexpr std::string_view kInsertReport = R"sql(
  INSERT INTO reports (task_id, header, payload, payload_size, payload_digest)
  VALUES (?1, ?2, ?3, ?4, ?5))sql";
constexpr std::string_view kMarkReported =
    "UPDATE tasks SET verdict = 'reported', time_us = ?2 WHERE task_id = ?1";
constexpr std::string_view kFindReport = "SELECT outcome FROM reports WHERE task_id = ?1";
constexpr std::string_view kPendingReports =
    "SELECT task_id FROM reports WHERE outcome IS NULL ORDER BY id";
constexpr std::string_view kLoadReport = R"sql(
  SELECT header, payload, payload_size, payload_digest FROM reports
  WHERE task_id = ?1 AND outcome IS NULL)sql";
constexpr std::string_view kSettleReport = R"sql(
  UPDATE reports SET header = NULL, payload = NULL, outcome = ?2, settled_time_us = ?3
  WHERE task_id = ?1 AND outcome IS NULL)sql";
constexpr std::string_view kPendingOutbox = R"sql(
  SELECT payload_digest FROM reports
  WHERE outcome IS NULL AND payload IS NULL AND payload_digest = ?1)sql";
constexpr std::string_view kAllOutbox =
    "SELECT payload_digest FROM reports WHERE outcome IS NULL AND payload IS NULL";

constexpr std::string_view kUpsertCoordinator = R"sql(
  INSERT INTO coordinators (lineage, epoch, instance, version, accepts_loss)
  VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (lineage) DO UPDATE SET epoch = ?2, instance = ?3,
  version = ?4, accepts_loss = ?5)sql";
constexpr std::string_view kTrimCoordinators =
    "DELETE FROM coordinators WHERE id <= (SELECT max(id) FROM coordinators) - ?1";
constexpr std::string_view kAllCoordinators =
    "SELECT lineage, epoch, instance, version, accepts_loss FROM coordinators ORDER BY id";

std::int64_t Micros(Time time) { return time.time_since_epoch().count(); }

enum class Durability { kProcess, kDisk };

class SqliteJournal final : public Journal {
 public:
  struct Statements {
    storage::Statement upsert_task;
    storage::Statement insert_release;
    storage::Statement repeat_release;
    storage::Statement insert_report;
    storage::Statement mark_reported;
    storage::Statement find_report;
    storage::Statement pending_reports;
    storage::Statement load_report;
    storage::Statement settle_report;
    storage::Statement pending_outbox;
    storage::Statement upsert_coordinator;
    storage::Statement trim_coordinators;
    storage::Statement all_coordinators;
  };

  SqliteJournal(storage::Database database, storage::BlobStore outbox)
      : database_(std::move(database)), outbox_(std::move(outbox)) {}

  Status Prepare() {
    const auto prepare = [this](std::string_view sql) { return database_.Prepare(sql); };
    CHORALE_ASSIGN_OR_RETURN(auto upsert_task, prepare(kUpsertTask));
    CHORALE_ASSIGN_OR_RETURN(auto insert_release, prepare(kInsertRelease));
    CHORALE_ASSIGN_OR_RETURN(auto repeat_release, prepare(kRepeatRelease));
    CHORALE_ASSIGN_OR_RETURN(auto insert_report, prepare(kInsertReport));
    CHORALE_ASSIGN_OR_RETURN(auto mark_reported, prepare(kMarkReported));
    CHORALE_ASSIGN_OR_RETURN(auto find_report, prepare(kFindReport));
    CHORALE_ASSIGN_OR_RETURN(auto pending_reports, prepare(kPendingReports));
    CHORALE_ASSIGN_OR_RETURN(auto load_report, prepare(kLoadReport));
    CHORALE_ASSIGN_OR_RETURN(auto settle_report, prepare(kSettleReport));
    CHORALE_ASSIGN_OR_RETURN(auto pending_outbox, prepare(kPendingOutbox));
    CHORALE_ASSIGN_OR_RETURN(auto upsert_coordinator, prepare(kUpsertCoordinator));
    CHORALE_ASSIGN_OR_RETURN(auto trim_coordinators, prepare(kTrimCoordinators));
    CHORALE_ASSIGN_OR_RETURN(auto all_coordinators, prepare(kAllCoordinators));
    statements_.emplace(
        Statements{std::move(upsert_task), std::move(insert_release), std::move(repeat_release),
                   std::move(insert_report), std::move(mark_reported), std::move(find_report),
                   std::move(pending_reports), std::move(load_report), std::move(settle_report),
                   std::move(pending_outbox), std::move(upsert_coordinator),
                   std::move(trim_coordinators), std::move(all_coordinators)});
    return OkStatus();
  }

  // Removes what a crash between payload and report left in the outbox.
  Status SweepOutbox(const std::filesystem::path& directory) {
    std::set<std::string> wanted;
    CHORALE_ASSIGN_OR_RETURN(storage::Statement all, database_.Prepare(kAllOutbox));
    while (true) {
      CHORALE_ASSIGN_OR_RETURN(const bool has_row, all.Step());
      if (!has_row) break;
      wanted.insert(ToHex(all.Blob(0)));
    }
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
      if (wanted.contains(entry.path().filename().string())) continue;
      std::error_code ignored;  // What stays is swept next time.
      std::filesystem::remove(entry.path(), ignored);
    }
    return OkStatus();
  }

  Status RecordTask(const TaskRecord& record) override {
    const std::lock_guard lock(mutex_);
    CHORALE_RETURN_IF_ERROR(Use(Durability::kProcess));
    return statements_->upsert_task.Bind(1, std::string_view(record.task_id.value()))
        .Bind(2, std::string_view(record.job_id.value()))
        .Bind(3, ByteSpan(record.job_digest))
        .Bind(4, std::string_view(record.verdict))
        .Bind(5, Micros(record.time))
        .Run();
  }

  Status RecordRelease(const ReleaseRecord& record) override {
    const std::lock_guard lock(mutex_);
    CHORALE_RETURN_IF_ERROR(Use(Durability::kProcess));
    const bool is_heartbeat = record.kind == kHeartbeat;
    if (is_heartbeat && last_is_heartbeat_) {
      return statements_->repeat_release.Bind(1, Micros(record.time)).Run();
    }
    CHORALE_RETURN_IF_ERROR(InsertRelease(record));
    last_is_heartbeat_ = is_heartbeat;
    return OkStatus();
  }

  Status RecordCoordinators(const KnownCoordinators& known) override {
    const std::lock_guard lock(mutex_);
    if (!known.current.has_value()) return OkStatus();
    CHORALE_RETURN_IF_ERROR(Use(Durability::kProcess));
    CHORALE_ASSIGN_OR_RETURN(storage::Transaction transaction,
                             storage::Transaction::Begin(database_));
    const CoordinatorState& current = *known.current;
    CHORALE_RETURN_IF_ERROR(statements_->upsert_coordinator.Bind(1, current.lineage)
                                .Bind(2, static_cast<std::int64_t>(current.epoch))
                                .Bind(3, current.instance)
                                .Bind(4, static_cast<std::int64_t>(current.version))
                                .Bind(5, static_cast<std::int64_t>(current.accepts_loss ? 1 : 0))
                                .Run());
    CHORALE_RETURN_IF_ERROR(
        statements_->trim_coordinators
            .Bind(1, static_cast<std::int64_t>(KnownCoordinators::kMostRetired + 1))
            .Run());
    return transaction.Commit();
  }

  StatusOr<KnownCoordinators> LoadCoordinators() override {
    const std::lock_guard lock(mutex_);
    KnownCoordinators known;
    storage::Statement& all = statements_->all_coordinators;
    while (true) {
      CHORALE_ASSIGN_OR_RETURN(const bool has_row, all.Step());
      if (!has_row) return known;
      if (known.current.has_value()) known.retired.push_back(known.current->lineage);
      known.current = CoordinatorState{.lineage = all.Text(0),
                                       .epoch = static_cast<std::uint64_t>(all.Int(1)),
                                       .instance = all.Text(2),
                                       .version = static_cast<std::uint64_t>(all.Int(3)),
                                       .accepts_loss = all.Int(4) != 0};
    }
  }

  Status RecordReport(const ReleaseRecord& record, const v1::ReportHeader& header,
                      ByteSpan payload) override {
    CHORALE_ASSIGN_OR_RETURN(const crypto::Digest digest,
                             crypto::DigestFromBytes(AsBytes(header.payload().digest())));
    const std::string header_bytes = header.SerializeAsString();
    if (payload.size() <= kMaxInlineBytes) {
      const std::lock_guard lock(mutex_);
      return InsertReport(record, header_bytes, payload, digest);
    }
    // A large payload is written without the lock, so that heartbeats do not wait for the disk.
    {
      const std::lock_guard lock(mutex_);
      being_added_.insert(digest);
    }
    Status status = outbox_.Put(payload).status();
    const std::lock_guard lock(mutex_);
    if (status.ok()) status = InsertReport(record, header_bytes, payload, digest);
    being_added_.erase(being_added_.find(digest));
    return status;
  }

  StatusOr<ReportState> FindReport(const TaskId& task_id) override {
    const std::lock_guard lock(mutex_);
    return Find(task_id);
  }

  StatusOr<std::vector<TaskId>> PendingReports() override {
    const std::lock_guard lock(mutex_);
    std::vector<TaskId> pending;
    while (true) {
      CHORALE_ASSIGN_OR_RETURN(const bool has_row, statements_->pending_reports.Step());
      if (!has_row) return pending;
      pending.emplace_back(statements_->pending_reports.Text(0));
    }
  }

  StatusOr<OutgoingReport> LoadReport(const TaskId& task_id) override {
    const std::lock_guard lock(mutex_);
    storage::Statement& load = statements_->load_report;
    load.Bind(1, std::string_view(task_id.value()));
    CHORALE_ASSIGN_OR_RETURN(const bool has_row, load.Step());
    if (!has_row) {
      load.Reset();
      return NotFound("the task has no pending report");
    }
    const Bytes header_bytes = load.Blob(0);
    const bool is_inline = !load.IsNull(1);
    Bytes payload = is_inline ? load.Blob(1) : Bytes();
    crypto::BlobId id{.size_bytes = static_cast<std::uint64_t>(load.Int(2))};
    const StatusOr<crypto::Digest> digest = crypto::DigestFromBytes(load.Blob(3));
    load.Reset();
    v1::ReportHeader header;
    if (!digest.ok() || !header.ParseFromString(ToString(header_bytes))) {
      return DataLoss("the journal's report cannot be read");
    }
    id.digest = *digest;
    if (is_inline) {
      if (crypto::IdentifyBlob(payload) != id) {
        return DataLoss("the journal's report of task " + task_id.value() + " is damaged");
      }
      return OutgoingReport{.header = std::move(header), .payload = std::move(payload)};
    }
    CHORALE_ASSIGN_OR_RETURN(storage::BlobReader reader, outbox_.Find(id));
    return OutgoingReport{.header = std::move(header), .payload = std::move(reader)};
  }

  Status SettleReport(const TaskId& task_id, std::string_view outcome, Time time) override {
    const std::lock_guard lock(mutex_);
    storage::Statement& load = statements_->load_report;
    load.Bind(1, std::string_view(task_id.value()));
    CHORALE_ASSIGN_OR_RETURN(const bool has_row, load.Step());
    if (!has_row) {
      load.Reset();
      return OkStatus();
    }
    const bool is_inline = !load.IsNull(1);
    crypto::BlobId id{.size_bytes = static_cast<std::uint64_t>(load.Int(2))};
    const StatusOr<crypto::Digest> digest = crypto::DigestFromBytes(load.Blob(3));
    load.Reset();
    CHORALE_RETURN_IF_ERROR(Use(Durability::kProcess));
    CHORALE_RETURN_IF_ERROR(statements_->settle_report.Bind(1, std::string_view(task_id.value()))
                                .Bind(2, outcome)
                                .Bind(3, Micros(time))
                                .Run());
    if (is_inline || !digest.ok()) return OkStatus();
    id.digest = *digest;
    // Two reports may have the same bytes and then share the blob.
    storage::Statement& others = statements_->pending_outbox;
    others.Bind(1, ByteSpan(id.digest));
    CHORALE_ASSIGN_OR_RETURN(const bool is_shared, others.Step());
    others.Reset();
    return is_shared || being_added_.contains(id.digest) ? OkStatus() : outbox_.Remove(id);
  }

 private:
  // In WAL mode NORMAL skips the sync of a commit; the next FULL commit syncs everything before it.
  Status Use(Durability durability) {
    if (durability == durability_) return OkStatus();
    CHORALE_RETURN_IF_ERROR(database_.Execute(durability == Durability::kDisk
                                                  ? "PRAGMA synchronous = FULL"
                                                  : "PRAGMA synchronous = NORMAL"));
    durability_ = durability;
    return OkStatus();
  }

  Status InsertRelease(const ReleaseRecord& record) {
    return statements_->insert_release.Bind(1, std::string_view(record.kind))
        .Bind(2, std::string_view(record.task_id.value()))
        .Bind(3, static_cast<std::int64_t>(record.size_bytes))
        .Bind(4, ByteSpan(record.sha256))
        .Bind(5, Micros(record.time))
        .Run();
  }

  Status InsertReport(const ReleaseRecord& record, const std::string& header_bytes,
                      ByteSpan payload, const crypto::Digest& digest) {
    CHORALE_ASSIGN_OR_RETURN(const ReportState state, Find(record.task_id));
    if (state != ReportState::kNone) return AlreadyExists("the task has a report");
    CHORALE_RETURN_IF_ERROR(Use(Durability::kDisk));
    CHORALE_ASSIGN_OR_RETURN(storage::Transaction transaction,
                             storage::Transaction::Begin(database_));
    CHORALE_RETURN_IF_ERROR(InsertRelease(record));
    storage::Statement& insert = statements_->insert_report;
    insert.Bind(1, std::string_view(record.task_id.value()))
        .Bind(2, AsBytes(header_bytes))
        .Bind(4, static_cast<std::int64_t>(payload.size()))
        .Bind(5, ByteSpan(digest));
    if (payload.size() <= kMaxInlineBytes) {
      insert.Bind(3, payload);
    } else {
      insert.BindNull(3);
    }
    CHORALE_RETURN_IF_ERROR(insert.Run());
    CHORALE_RETURN_IF_ERROR(
        statements_->mark_reported.Bind(1, std::string_view(record.task_id.value()))
            .Bind(2, Micros(record.time))
            .Run());
    CHORALE_RETURN_IF_ERROR(transaction.Commit());
    last_is_heartbeat_ = false;
    return OkStatus();
  }

  StatusOr<ReportState> Find(const TaskId& task_id) {
    storage::Statement& find = statements_->find_report;
    find.Bind(1, std::string_view(task_id.value()));
    CHORALE_ASSIGN_OR_RETURN(const bool has_row, find.Step());
    const ReportState state = !has_row                        ? ReportState::kNone
                              : find.IsNull(0)                ? ReportState::kPending
                              : find.Text(0) == kAcknowledged ? ReportState::kAcknowledged
                                                              : ReportState::kDiscarded;
    find.Reset();
    return state;
  }

  std::mutex mutex_;  // Guards everything below.
  storage::Database database_;
  storage::BlobStore outbox_;
  std::optional<Statements> statements_;  // After database_: finalised before it closes.
  Durability durability_ = Durability::kDisk;
  bool last_is_heartbeat_ = false;
  std::multiset<crypto::Digest>
      being_added_;  // Payloads in the outbox whose report is not yet recorded.
};

}  // namespace

StatusOr<std::unique_ptr<Journal>> Journal::Open(const std::filesystem::path& state_directory) {
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(state_directory));
  const std::filesystem::path outbox_directory = state_directory / "outbox";
  CHORALE_ASSIGN_OR_RETURN(storage::Database database,
                           storage::Database::Open(state_directory / "journal.db", kMigrations));
  CHORALE_ASSIGN_OR_RETURN(storage::BlobStore outbox, storage::BlobStore::Open(outbox_directory));
  auto journal = std::make_unique<SqliteJournal>(std::move(database), std::move(outbox));
  CHORALE_RETURN_IF_ERROR(journal->Prepare());
  CHORALE_RETURN_IF_ERROR(journal->SweepOutbox(outbox_directory));
  return journal;
}

}  // namespace chorale::site_agent
