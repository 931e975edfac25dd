#pragma once

#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/store.h"

namespace chorale::support {

// Hands every call on to another store: to be overridden where a test wants to know or to
// interfere.
class ForwardingJobStore : public coordinator::JobStore {
 public:
  explicit ForwardingJobStore(std::unique_ptr<coordinator::JobStore> store)
      : store_(std::move(store)) {}

  StatusOr<std::vector<crypto::BlobId>> Append(const coordinator::Batch& batch) override {
    return store_->Append(batch);
  }
  StatusOr<std::vector<coordinator::StoredJob>> LoadUnfinished() override {
    return store_->LoadUnfinished();
  }
  StatusOr<coordinator::StoredJob> LoadJob(const JobId& id) override { return store_->LoadJob(id); }
  StatusOr<bool> HasEnded(const JobId& id) override { return store_->HasEnded(id); }
  StatusOr<std::vector<v1::JobSummary>> ListJobs(std::uint32_t limit) override {
    return store_->ListJobs(limit);
  }
  StatusOr<coordinator::StoredSubmission> FindSubmission(
      const ResearcherId& researcher, std::string_view idempotency_key) override {
    return store_->FindSubmission(researcher, idempotency_key);
  }
  StatusOr<std::vector<crypto::BlobId>> ListBlobs() override { return store_->ListBlobs(); }
  StatusOr<std::vector<coordinator::KeptBlob>> LoadBlobsOfUnfinished() override {
    return store_->LoadBlobsOfUnfinished();
  }
  StatusOr<Bytes> LoadBlob(const crypto::BlobId& id) override { return store_->LoadBlob(id); }
  StatusOr<std::map<SiteId, coordinator::StoredSite>> LoadSites() override {
    return store_->LoadSites();
  }
  StatusOr<std::uint64_t> RosterVersion() override { return store_->RosterVersion(); }
  Status RecordStart(Time when) override { return store_->RecordStart(when); }
  StatusOr<std::vector<Time>> LoadStarts() override { return store_->LoadStarts(); }
  StatusOr<std::uint64_t> NumEvents() override { return store_->NumEvents(); }

 private:
  std::unique_ptr<coordinator::JobStore> store_;
};

}  // namespace chorale::support
