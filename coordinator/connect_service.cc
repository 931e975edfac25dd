#include "coordinator/connect_service.h"

#include <string>
#include <utility>
#include <variant>

#include "coordinator/site_messages.h"
#include "coordinator/time_codec.h"
#include "core/log.h"
#include "core/rpc/status_conversion.h"

namespace chorale::coordinator {
namespace {

// One task a job, and what goes with it: a site that reads has far fewer waiting.
constexpr std::size_t kMaxQueuedMessages = 1024;
constexpr int kMaxWaitingCommands = 1024;

}  // namespace

SiteStream::SiteStream(grpc::CallbackServerContext& context, Driver& driver, const Clock& clock,
                       SessionId id)
    : driver_(driver),
      clock_(clock),
      id_(id),
      last_heard_us_(ToMicros(clock.Now())),
      context_(&context) {}

SiteStream* SiteStream::Start(grpc::CallbackServerContext& context, Driver& driver,
                              const Clock& clock, SessionId id, SiteSession session) {
  std::shared_ptr<SiteStream> stream(new SiteStream(context, driver, clock, id));
  stream->self_ = stream;
  session.channel = stream;
  driver.Post([id, session](Engine& engine) { engine.SessionOpened(id, session); });
  SiteStream* const raw = stream.get();
  raw->StartRead(&raw->incoming_);
  return raw;
}

// ---------------------------------------------------------------------------- writing

void SiteStream::Send(v1::CoordinatorMessage message) {
  const std::scoped_lock lock(mutex_);
  if (ending_.has_value()) return;
  if (queue_.size() >= kMaxQueuedMessages) {
    CloseLocked(ResourceExhausted("the site does not read what it is sent"));
    if (context_ != nullptr) context_->TryCancel();
    return;
  }
  queue_.push_back(std::move(message));
  WriteNext();
}

void SiteStream::Close(const Status& why) {
  const std::scoped_lock lock(mutex_);
  CloseLocked(why);
}

void SiteStream::Kill() {
  const std::scoped_lock lock(mutex_);
  if (context_ != nullptr) context_->TryCancel();
}

void SiteStream::CloseLocked(const Status& why) {
  if (ending_.has_value()) return;
  ending_ = why;
  FinishWhenWritten();
}

void SiteStream::WriteNext() {
  if (is_writing_ || is_finished_ || queue_.empty()) return;
  is_writing_ = true;
  StartWrite(&queue_.front());
}

void SiteStream::FinishWhenWritten() {
  if (!ending_.has_value() || is_finished_ || is_writing_ || !queue_.empty()) return;
  is_finished_ = true;
  Finish(rpc::ToGrpc(*ending_));
}

void SiteStream::OnWriteDone(bool is_ok) {
  const std::scoped_lock lock(mutex_);
  is_writing_ = false;
  queue_.pop_front();
  if (!is_ok) {
    queue_.clear();
    if (!ending_.has_value()) ending_ = Unavailable("the connection to the site is lost");
  }
  WriteNext();
  FinishWhenWritten();
}

// ---------------------------------------------------------------------------- reading

void SiteStream::OnReadDone(bool is_ok) {
  if (is_ok) {
    last_heard_us_ = ToMicros(clock_.Now());
    Take(incoming_);
    const std::scoped_lock lock(mutex_);
    if (!is_finished_) StartRead(&incoming_);
    return;
  }
  // The site has ended the call, or the connection is lost.
  const std::scoped_lock lock(mutex_);
  if (!ending_.has_value()) ending_ = OkStatus();
  if (!is_writing_) {
    queue_.clear();
  } else if (queue_.size() > 1) {
    queue_.erase(queue_.begin() + 1, queue_.end());
  }
  FinishWhenWritten();
}

void SiteStream::Take(const v1::SiteMessage& message) {
  StatusOr<SiteStatement> statement = Decode(message);
  if (!statement.ok()) return Close(statement.status());
  if (auto* greeting = std::get_if<SiteGreeting>(&*statement)) {
    has_greeted_ = true;
    return Post([id = id_, hello = std::move(*greeting)](Engine& engine) {
      engine.SessionGreeted(id, hello);
    });
  }
  if (!has_greeted_) return Close(InvalidArgument("the first message must be a hello"));
  if (const auto* alive = std::get_if<SiteAlive>(&*statement); alive != nullptr && alive->ledger) {
    return Post([id = id_, head = *alive->ledger](Engine& engine) { engine.LedgerTold(id, head); });
  }
  if (auto* refused = std::get_if<SiteTaskRefused>(&*statement)) {
    Post([id = id_, refusal = std::move(*refused)](Engine& engine) {
      engine.TaskRefused(id, refusal.task, refusal.refusal);
    });
  }
}

void SiteStream::Post(Mailbox::Command command) {
  if (*num_waiting_ >= kMaxWaitingCommands) {
    return Close(ResourceExhausted("the site sends faster than the coordinator can take"));
  }
  ++*num_waiting_;
  driver_.Post([num_waiting = num_waiting_, command = std::move(command)](Engine& engine) {
    --*num_waiting;
    command(engine);
  });
}

Time SiteStream::last_heard() const { return FromMicros(last_heard_us_); }

void SiteStream::OnDone() {
  driver_.Post([id = id_](Engine& engine) { engine.SessionClosed(id); });
  std::shared_ptr<SiteStream> self;  // Lets go after the lock.
  const std::scoped_lock lock(mutex_);
  context_ = nullptr;
  self = std::move(self_);
}

}  // namespace chorale::coordinator
