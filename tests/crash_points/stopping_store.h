#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/store.h"
#include "tests/crash_points/crash_points.h"

namespace chorale::crash_points {

// The coordinator's store, with points around each transaction that writes and after what is read
// on start. A transaction passes the points of everything that it commits:
//   submission; started, cohort, answer STEP, refusal, drop, return, deadline, step STEP, publish,
//   failure, session lost, cancel (events of the job, STEP as secure aggregation calls it); end
class StoppingStore final : public coordinator::JobStore {
 public:
  StoppingStore(std::unique_ptr<coordinator::JobStore> store, CrashPoints& points)
      : store_(std::move(store)), points_(points) {}

  StatusOr<std::vector<crypto::BlobId>> Append(const coordinator::Batch& batch) override;
  StatusOr<std::vector<coordinator::StoredJob>> LoadUnfinished() override;
  StatusOr<coordinator::StoredJob> LoadJob(const JobId& id) override { return store_->LoadJob(id); }
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
  CrashPoints& points_;
};

}  // namespace chorale::crash_points
