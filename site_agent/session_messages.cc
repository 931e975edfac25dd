#include "site_agent/session_messages.h"

#include <memory>
#include <utility>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/storage/state_mark.h"
#include "site_agent/release_guard.h"

namespace chorale::site_agent {
namespace {

// Of google.protobuf: 0001-01-01 to 9999-12-31. Within it, sums of a few times cannot overflow.
constexpr std::int64_t kMinSeconds = -62'135'596'800;
constexpr std::int64_t kMaxSeconds = 253'402'300'799;
constexpr std::size_t kMaxInstance = 64;

template <typename Proto>
std::optional<Duration> SinceEpoch(const Proto& proto) {
  if (proto.seconds() < kMinSeconds || proto.seconds() > kMaxSeconds || proto.nanos() < 0 ||
      proto.nanos() > 999'999'999) {
    return std::nullopt;
  }
  return std::chrono::seconds(proto.seconds()) + Duration(proto.nanos() / 1000);
}

Event Greeting(const v1::CoordinatorHello& hello) {
  const std::optional<Duration> interval = SinceEpoch(hello.heartbeat_interval());
  if (!interval.has_value()) return CoordinatorMisbehaved{"a malformed heartbeat_interval"};
  CoordinatorGreeted greeted{.heartbeat_interval = *interval, .clock = std::nullopt};
  if (hello.has_clock()) {
    const std::optional<Duration> clock = SinceEpoch(hello.clock());
    if (!clock.has_value()) return CoordinatorMisbehaved{"a malformed clock"};
    greeted.clock = Time(*clock);
  }
  if (hello.has_state()) {
    if (!storage::IsLineage(hello.state().lineage()) || hello.state().epoch() == 0 ||
        hello.instance().size() > kMaxInstance) {
      return CoordinatorMisbehaved{"a malformed state"};
    }
    greeted.state = CoordinatorState{.lineage = hello.state().lineage(),
                                     .epoch = hello.state().epoch(),
                                     .instance = hello.instance(),
                                     .version = hello.state_version(),
                                     .accepts_loss = hello.accepts_loss()};
  }
  if (hello.has_ledger_receipt()) {
    const StatusOr<crypto::Digest> digest =
        crypto::DigestFromBytes(AsBytes(hello.ledger_receipt().digest()));
    if (!digest.ok()) return CoordinatorMisbehaved{"a malformed ledger_receipt"};
    greeted.receipt = privacy::LedgerHead{.seq = hello.ledger_receipt().seq(), .digest = *digest};
  }
  return greeted;
}

Event Arrival(v1::Task task) {
  if (!IsValidTaskId(TaskId(task.task_id()))) return CoordinatorMisbehaved{"a malformed task_id"};
  if (!IsValidTaskId(TaskId(task.job_id()))) return CoordinatorMisbehaved{"a malformed job_id"};
  const std::optional<Duration> deadline = SinceEpoch(task.report_deadline());
  if (!deadline.has_value()) return CoordinatorMisbehaved{"a malformed report_deadline"};
  const std::uint64_t version = task.state_version();
  return TaskArrived{.task = std::make_shared<const v1::Task>(std::move(task)),
                     .report_deadline = Time(*deadline),
                     .state_version = version};
}

}  // namespace

std::optional<Event> DecodeMessage(v1::CoordinatorMessage message) {
  switch (message.message_case()) {
    case v1::CoordinatorMessage::kHello:
      return Greeting(message.hello());
    case v1::CoordinatorMessage::kTask:
      return Arrival(std::move(*message.mutable_task()));
    case v1::CoordinatorMessage::kCancelled:
      if (!IsValidTaskId(TaskId(message.cancelled().task_id()))) {
        return CoordinatorMisbehaved{"a malformed task_id"};
      }
      return TaskWithdrawn{TaskId(message.cancelled().task_id())};
    case v1::CoordinatorMessage::kJobEnded:
      if (!IsValidTaskId(TaskId(message.job_ended().job_id()))) {
        return CoordinatorMisbehaved{"a malformed job_id"};
      }
      return JobEnded{JobId(message.job_ended().job_id())};
    case v1::CoordinatorMessage::kDraining:
      return CoordinatorDraining{};
    case v1::CoordinatorMessage::MESSAGE_NOT_SET:
      break;
  }
  return std::nullopt;
}

}  // namespace chorale::site_agent
