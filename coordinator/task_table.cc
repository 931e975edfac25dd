#include "coordinator/task_table.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <utility>

#include "coordinator/round_record.h"

namespace chorale::coordinator {
namespace {

// A retry may come before the connection of the first attempt is known to be dead.
constexpr std::size_t kMaxTransfersOfTask = 2;
constexpr std::ptrdiff_t kMaxSilentCalls = 16;  // Of one site.

}  // namespace

TaskId TaskIdOf(const JobId& job, RoundKey round, const SiteId& site) {
  const std::string step = SlugOf(round.step);
  return TaskId(job.value() + "/" + std::to_string(round.number.value()) + "/" +
                std::to_string(round.attempt) + "/" + (step.empty() ? "" : step + "/") +
                site.value());
}

TaskTable::Transfer::Transfer(TaskTable& table, std::shared_ptr<Entry> entry,
                              std::list<Call>::iterator call)
    : table_(&table), entry_(std::move(entry)), call_(call), task_(entry_->task) {}

TaskTable::Transfer::Transfer(Transfer&& other) noexcept
    : table_(std::exchange(other.table_, nullptr)),
      entry_(std::move(other.entry_)),
      call_(other.call_),
      task_(std::move(other.task_)) {}

TaskTable::Transfer::~Transfer() {
  if (table_ == nullptr) return;
  const std::scoped_lock lock(table_->mutex_);
  entry_->calls.erase(call_);
  --table_->num_transfers_;
  table_->call_ended_.notify_all();
}

void TaskTable::Transfer::AddBytesDown(std::uint64_t bytes) { entry_->bytes_down += bytes; }

std::uint64_t TaskTable::Transfer::bytes_down() const { return entry_->bytes_down; }

std::unique_ptr<PartialPayload> TaskTable::Transfer::TakePartial(const crypto::BlobId& payload) {
  const std::scoped_lock lock(table_->mutex_);
  if (entry_->partial == nullptr || entry_->partial->receiver.expected() != payload) return nullptr;
  return std::move(entry_->partial);
}

void TaskTable::Transfer::KeepPartial(std::unique_ptr<PartialPayload> partial) {
  const std::scoped_lock lock(table_->mutex_);
  entry_->partial = std::move(partial);
}

TaskTable::SilentCall::SilentCall(SilentCall&& other) noexcept
    : table_(std::exchange(other.table_, nullptr)), record_(other.record_) {}

TaskTable::SilentCall::~SilentCall() {
  if (table_ == nullptr) return;
  const std::scoped_lock lock(table_->mutex_);
  table_->silent_.erase(record_);
}

StatusOr<TaskTable::SilentCall> TaskTable::BeginSilent(const SiteId& site, Time now,
                                                       std::function<void()> cancel) {
  const std::scoped_lock lock(mutex_);
  const auto count = std::count_if(silent_.begin(), silent_.end(),
                                   [&](const auto& call) { return call.site == site; });
  if (count >= kMaxSilentCalls) {
    return ResourceExhausted("too many calls that say nothing: try again");
  }
  silent_.push_back({site, now, std::move(cancel)});
  return SilentCall(*this, std::prev(silent_.end()));
}

void TaskTable::CancelSilent(Time since) {
  const std::scoped_lock lock(mutex_);
  for (const SilentCall::Record& call : silent_) {
    if (call.since < since) call.cancel();
  }
}

void TaskTable::Open(OpenTask task) {
  const std::scoped_lock lock(mutex_);
  std::shared_ptr<Entry>& entry = entries_[task.id];
  if (entry == nullptr) entry = std::make_shared<Entry>();
  entry->task = std::move(task);
  entry->is_suspended = false;
}

void TaskTable::MarkReported(const TaskId& id, const Report& report) {
  const std::scoped_lock lock(mutex_);
  if (const auto entry = entries_.find(id); entry != entries_.end()) {
    entry->second->task.report = report;
  }
}

void TaskTable::Close(const JobId& job, RoundKey round) {
  const std::scoped_lock lock(mutex_);
  const auto [begin, end] = CancelCalls(job, round);
  entries_.erase(begin, end);
}

void TaskTable::Suspend(const JobId& job, RoundKey round) {
  const std::scoped_lock lock(mutex_);
  const auto [begin, end] = CancelCalls(job, round);
  for (auto entry = begin; entry != end; ++entry) entry->second->is_suspended = true;
}

std::pair<TaskTable::Entries::iterator, TaskTable::Entries::iterator> TaskTable::CancelCalls(
    const JobId& job, RoundKey round) {
  // Ids of one round share a prefix, so they stand together.
  const std::string prefix = TaskIdOf(job, round, SiteId("")).value();
  const auto begin = entries_.lower_bound(TaskId(prefix));
  auto end = begin;
  for (; end != entries_.end() && end->first.value().starts_with(prefix); ++end) {
    for (const Call& call : end->second->calls) call.cancel();
  }
  return {begin, end};
}

StatusOr<TaskTable::Transfer> TaskTable::Begin(const TaskId& id, const SiteId& site,
                                               Direction direction, std::function<void()> cancel) {
  const std::scoped_lock lock(mutex_);
  CHORALE_ASSIGN_OR_RETURN(std::shared_ptr<Entry> entry, FindEntry(id, site));
  if (num_transfers_ >= max_transfers_ || entry->calls.size() >= kMaxTransfersOfTask) {
    return ResourceExhausted("too many transfers are under way: try again");
  }
  ++num_transfers_;
  entry->calls.push_back({direction, std::move(cancel)});
  const auto place = std::prev(entry->calls.end());
  return Transfer(*this, std::move(entry), place);
}

StatusOr<std::uint64_t> TaskTable::FindPartial(const TaskId& id, const SiteId& site,
                                               const crypto::BlobId& payload, Duration patience) {
  std::unique_lock lock(mutex_);
  CHORALE_ASSIGN_OR_RETURN(const std::shared_ptr<Entry> entry, FindEntry(id, site));
  // A thread waits here: one for a task.
  if (entry->is_asked) return ResourceExhausted("the same is being asked already: try again");
  for (const Call& call : entry->calls) {
    if (call.direction == Direction::kUp) call.cancel();
  }
  const auto has_ended = [&] {
    return std::ranges::none_of(entry->calls,
                                [](const Call& call) { return call.direction == Direction::kUp; });
  };
  entry->is_asked = true;
  const bool is_over = call_ended_.wait_for(lock, patience, has_ended);
  entry->is_asked = false;
  if (!is_over) {
    return ResourceExhausted("an earlier transfer of this report has not ended: try again");
  }
  if (entry->partial == nullptr || entry->partial->receiver.expected() != payload) return 0;
  return entry->partial->receiver.received_bytes();
}

StatusOr<OpenTask> TaskTable::Find(const TaskId& id, const SiteId& site) const {
  const std::scoped_lock lock(mutex_);
  CHORALE_ASSIGN_OR_RETURN(const std::shared_ptr<Entry> entry, FindEntry(id, site));
  return entry->task;
}

StatusOr<std::shared_ptr<TaskTable::Entry>> TaskTable::FindEntry(const TaskId& id,
                                                                 const SiteId& site) const {
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) {
    return FailedPrecondition("the task is not open: its round is closed");
  }
  if (entry->second->task.site != site) return PermissionDenied("the task is another site's");
  if (entry->second->is_suspended) {
    return Unavailable("the coordinator has to read back how the round stands: try again");
  }
  return entry->second;
}

}  // namespace chorale::coordinator
