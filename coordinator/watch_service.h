#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "chorale/v1/jobs.grpc.pb.h"
#include "coordinator/driver.h"
#include "coordinator/job_entry.h"

namespace chorale::coordinator {

// Serves one WatchJob call without a thread of its own: the engine wakes it, it asks for what is
// new, and writes that. Changes that come faster than the client reads are told together. Safe for
// concurrent use.
class WatchStream final : public grpc::ServerWriteReactor<v1::WatchJobResponse>, public JobWatcher {
 public:
  // The stream keeps itself until gRPC is done with it. The driver must outlive it.
  [[nodiscard]] static WatchStream* Start(Driver& driver, const JobId& id);

  // JobWatcher.
  void Wake() override;
  void Close(const Status& why) override;

 private:
  WatchStream(Driver& driver, JobId id) : driver_(driver), id_(std::move(id)) {}

  void OnWriteDone(bool is_ok) override;
  void OnCancel() override;
  void OnDone() override;

  // Asks the engine what is new; the answer comes to Take. REQUIRES: is_busy_ is set for this.
  void AskForNews();
  void Take(StatusOr<JobUpdate> update);
  // REQUIRES: mutex_ held, nothing being written.
  void FinishLocked(const Status& why);

  Driver& driver_;
  const JobId id_;
  std::mutex mutex_;  // Guards everything below.
  v1::WatchJobResponse response_;
  std::size_t next_round_ = 0;
  bool is_busy_ = false;  // Asking or writing.
  bool is_writing_ = false;
  bool is_stale_ = false;  // Something changed since it asked.
  bool is_finished_ = false;
  std::optional<Status> ending_;
  std::shared_ptr<WatchStream> self_;  // Until OnDone.
};

}  // namespace chorale::coordinator
