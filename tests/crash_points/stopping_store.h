#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "tests/crash_points/crash_points.h"
#include "tests/support/forwarding_job_store.h"

namespace chorale::crash_points {

// The coordinator's store, with points around each transaction that writes and after what is read
// on start. A transaction passes the points of everything that it commits:
//   submission; started, cohort, answer STEP, refusal, drop, return, deadline, step STEP, publish,
//   failure, session lost, cancel (events of the job, STEP as secure aggregation calls it); end
class StoppingStore final : public support::ForwardingJobStore {
 public:
  StoppingStore(std::unique_ptr<coordinator::JobStore> store, CrashPoints& points)
      : ForwardingJobStore(std::move(store)), points_(points) {}

  StatusOr<std::vector<crypto::BlobId>> Append(const coordinator::Batch& batch) override;
  StatusOr<std::vector<coordinator::StoredJob>> LoadUnfinished() override;

 private:
  CrashPoints& points_;
};

}  // namespace chorale::crash_points
