#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "chorale/v1/model.pb.h"
#include "coordinator/aggregation/federated_averaging.h"
#include "coordinator/job.h"
#include "coordinator/payload_store.h"
#include "core/ids.h"
#include "core/status.h"

// What takes too long for the engine's thread.
namespace chorale::coordinator {

struct MakeModelWork {
  v1::ModelSpec model;
  std::uint64_t num_inputs = 0;
  std::uint64_t seed = 0;
};
struct AverageWork {
  AveragingRequest request;
};
struct MomentsWork {
  std::vector<Contribution> contributions;
};
struct Work {
  JobId job;
  std::variant<MakeModelWork, AverageWork, MomentsWork> task;
};

using WorkProduct = std::variant<HeldPayload, Moments>;
struct WorkDone {
  JobId job;
  StatusOr<WorkProduct> product;  // CANCELLED: the worker stops.
};

// Does one piece of work.
[[nodiscard]] StatusOr<WorkProduct> DoWork(PayloadStore& payloads, const Work& work,
                                           int num_threads, const std::atomic<bool>& cancelled);

// Takes work to do. Each is answered once, with WorkDone, unless the program ends first.
class WorkQueue {
 public:
  virtual ~WorkQueue() = default;
  virtual void Start(Work work) = 0;
};

// One thread that does work in the order it came. Safe for concurrent use.
class Worker final : public WorkQueue {
 public:
  // `done` is called from the worker's thread. `payloads` must outlive the worker.
  Worker(PayloadStore& payloads, int num_threads, std::function<void(WorkDone)> done);
  ~Worker() override;  // Stops.
  void Start(Work work) override;
  // Interrupts what is under way and forgets the rest.
  void Stop();

 private:
  void Run();

  PayloadStore& payloads_;
  const int num_threads_;
  const std::function<void(WorkDone)> done_;
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;  // Guards queue_.
  std::condition_variable has_work_;
  std::deque<Work> queue_;
  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace chorale::coordinator
