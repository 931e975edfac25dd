#include "coordinator/worker.h"

#include <algorithm>
#include <new>
#include <span>
#include <string>
#include <utility>

#include "coordinator/aggregation/moments.h"
#include "core/bytes.h"
#include "core/chunking.h"
#include "core/parameters.h"
#include "models/model.h"

namespace chorale::coordinator {
namespace {

StatusOr<WorkProduct> Do(PayloadStore& payloads, const MakeModelWork& work, int,
                         const std::atomic<bool>& cancelled) {
  CHORALE_ASSIGN_OR_RETURN(const ParameterVector parameters,
                           models::InitialParameters(work.model, work.num_inputs, work.seed));
  const ByteSpan bytes = AsBytes(std::span<const float>(parameters));
  CHORALE_ASSIGN_OR_RETURN(PayloadWriter writer, payloads.Create(bytes.size()));
  for (std::uint64_t i = 0; i < NumChunks(bytes.size()); ++i) {
    if (cancelled) return Cancelled("making the model was interrupted");
    const ChunkRange range = ChunkAt(bytes.size(), i);
    CHORALE_RETURN_IF_ERROR(writer.Append(bytes.subspan(range.offset_bytes, range.size_bytes)));
  }
  CHORALE_ASSIGN_OR_RETURN(HeldPayload model, std::move(writer).Commit());
  return WorkProduct(std::move(model));
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const AverageWork& work, int num_threads,
                         const std::atomic<bool>& cancelled) {
  CHORALE_ASSIGN_OR_RETURN(HeldPayload model,
                           AverageUpdates(payloads, work.request, num_threads, cancelled));
  return WorkProduct(std::move(model));
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const MomentsWork& work, int,
                         const std::atomic<bool>&) {
  CHORALE_ASSIGN_OR_RETURN(Moments moments, AggregateMoments(payloads, work.contributions));
  return WorkProduct(std::move(moments));
}

}  // namespace

StatusOr<WorkProduct> DoWork(PayloadStore& payloads, const Work& work, int num_threads,
                             const std::atomic<bool>& cancelled) {
  try {
    return std::visit([&](const auto& task) { return Do(payloads, task, num_threads, cancelled); },
                      work.task);
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("the coordinator has not enough memory for this model");
  }
}

Worker::Worker(PayloadStore& payloads, int num_threads, std::function<void(WorkDone)> done)
    : payloads_(payloads),
      num_threads_(num_threads),
      done_(std::move(done)),
      thread_([this] { Run(); }) {}

Worker::~Worker() { Stop(); }

void Worker::Start(Work work) {
  {
    const std::scoped_lock lock(mutex_);
    queue_.push_back(std::move(work));
  }
  has_work_.notify_one();
}

void Worker::Stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
  }
  has_work_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Worker::Run() {
  while (true) {
    std::unique_lock lock(mutex_);
    has_work_.wait(lock, [this] { return stopped_ || !queue_.empty(); });
    if (stopped_) return;
    const Work work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    StatusOr<WorkProduct> product = DoWork(payloads_, work, num_threads_, stopped_);
    done_({work.job, std::move(product)});
  }
}

}  // namespace chorale::coordinator
