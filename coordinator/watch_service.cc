#include "coordinator/watch_service.h"

#include <utility>

#include "core/rpc/status_conversion.h"

namespace chorale::coordinator {

WatchStream* WatchStream::Start(Driver& driver, const JobId& id) {
  std::shared_ptr<WatchStream> stream(new WatchStream(driver, id));
  stream->self_ = stream;
  stream->is_busy_ = true;
  const bool is_posted = driver.PostQuestion([stream](Engine& engine) {
    const Status watching = engine.Watch(stream->id_, stream);
    // An ended job is told once; an unknown one not at all.
    if (watching.ok() || watching.code() == StatusCode::kFailedPrecondition) {
      stream->Take(engine.UpdateSince(stream->id_, 0));
    } else {
      stream->Take(watching);
    }
  });
  if (!is_posted) stream->Close(Unavailable("the coordinator is stopping: connect again later"));
  return stream.get();
}

void WatchStream::Wake() {
  {
    const std::scoped_lock lock(mutex_);
    is_stale_ = is_busy_;
    if (is_busy_ || is_finished_) return;
    is_busy_ = true;
  }
  AskForNews();
}

void WatchStream::AskForNews() {
  std::shared_ptr<WatchStream> self;
  std::size_t next_round = 0;
  {
    const std::scoped_lock lock(mutex_);
    self = self_;
    next_round = next_round_;
  }
  if (self == nullptr) return;
  const bool is_posted = driver_.PostQuestion([self, next_round](Engine& engine) {
    self->Take(engine.UpdateSince(self->id_, next_round));
  });
  if (!is_posted) Close(Unavailable("the coordinator is stopping: connect again later"));
}

void WatchStream::Take(StatusOr<JobUpdate> update) {
  const std::scoped_lock lock(mutex_);
  if (is_finished_) return;
  if (!update.ok()) return FinishLocked(update.status());
  if (ending_.has_value()) return FinishLocked(*ending_);
  response_.Clear();
  *response_.mutable_job() = std::move(update->summary);
  for (v1::RoundRecord& record : update->rounds) *response_.add_ended_rounds() = std::move(record);
  next_round_ = update->next_round;
  is_stale_ = is_stale_ || update->has_more;
  if (update->has_ended && !update->has_more) ending_ = OkStatus();
  is_writing_ = true;
  StartWrite(&response_);
}

void WatchStream::OnWriteDone(bool is_ok) {
  {
    const std::scoped_lock lock(mutex_);
    is_writing_ = false;
    if (is_finished_) return;
    if (!is_ok) return FinishLocked(Cancelled("the watcher is gone"));
    if (ending_.has_value()) return FinishLocked(*ending_);
    is_busy_ = std::exchange(is_stale_, false);
    if (!is_busy_) return;
  }
  AskForNews();
}

void WatchStream::Close(const Status& why) {
  const std::scoped_lock lock(mutex_);
  if (!ending_.has_value()) ending_ = why;
  if (!is_writing_) FinishLocked(*ending_);
}

void WatchStream::FinishLocked(const Status& why) {
  if (std::exchange(is_finished_, true)) return;
  Finish(rpc::ToGrpc(why));
}

void WatchStream::OnCancel() { Close(Cancelled("the watcher is gone")); }

void WatchStream::OnDone() {
  driver_.PostQuestion([id = id_, watcher = this](Engine& engine) { engine.Unwatch(id, watcher); });
  std::shared_ptr<WatchStream> self;  // Lets go after the lock.
  const std::scoped_lock lock(mutex_);
  self = std::move(self_);
}

}  // namespace chorale::coordinator
