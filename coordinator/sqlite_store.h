#pragma once

#include <filesystem>
#include <memory>

#include "coordinator/store.h"

namespace chorale::coordinator {

// The JobStore on one SQLite file: <state directory>/coordinator.db.
class SqliteJobStore final : public JobStore {
 public:
  // Errors as storage::Database::Open.
  [[nodiscard]] static StatusOr<std::unique_ptr<SqliteJobStore>> Open(
      const std::filesystem::path& path);
  ~SqliteJobStore() override;

  StatusOr<std::vector<crypto::BlobId>> Append(const Batch& batch) override;
  StatusOr<std::vector<StoredJob>> LoadUnfinished() override;
  StatusOr<StoredJob> LoadJob(const JobId& id) override;
  [[nodiscard]] StatusOr<bool> HasEnded(const JobId& id) override;
  StatusOr<std::vector<v1::JobSummary>> ListJobs(std::uint32_t limit) override;
  StatusOr<StoredSubmission> FindSubmission(const ResearcherId& researcher,
                                            std::string_view idempotency_key) override;
  StatusOr<std::vector<crypto::BlobId>> ListBlobs() override;
  StatusOr<std::vector<KeptBlob>> LoadBlobsOfUnfinished() override;
  StatusOr<Bytes> LoadBlob(const crypto::BlobId& id) override;
  StatusOr<std::map<SiteId, StoredSite>> LoadSites() override;
  StatusOr<std::uint64_t> RosterVersion() override;
  Status RecordStart(Time when) override;
  StatusOr<std::vector<Time>> LoadStarts() override;
  StatusOr<std::uint64_t> NumEvents() override;

 private:
  struct State;
  explicit SqliteJobStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace chorale::coordinator
