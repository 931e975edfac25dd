#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"
#include "privacy/ledger/entry.h"
#include "site_agent/known_coordinator.h"
#include "site_agent/reason_codes.h"

// The site's side of a session with the coordinator, as a deterministic state machine.
namespace chorale::site_agent {

// ------------------------------------------------------------------ events: what happened

struct LinkOpened {};
struct LinkClosed {
  std::string reason;
  Duration retry_after;  // Drawn by the driver: chance is an input.
};
struct CoordinatorGreeted {
  Duration heartbeat_interval;
  std::optional<Time> clock;  // The coordinator's, to place its deadlines on ours.
  std::optional<CoordinatorState> state = std::nullopt;  // Unset: one that does not tell.
  // The newest row of this site's ledger that it was ever told.
  std::optional<privacy::LedgerHead> receipt = std::nullopt;
};
struct TaskArrived {
  // Shared because every step copies the state and tasks carry a whole job.
  std::shared_ptr<const v1::Task> task;
  Time report_deadline;     // By the coordinator's clock.
  bool is_settled = false;  // The journal: reported before, and the coordinator had its last word.
  std::uint64_t state_version = 0;  // Of the coordinator, when it sent the task. 0: not told.
};
struct TaskWithdrawn {
  TaskId task_id;
};
struct JobEnded {
  JobId job_id;
};
struct CoordinatorDraining {};
// A message that cannot be understood.
struct CoordinatorMisbehaved {
  std::string problem;
};
// The policy said yes; training begins.
struct TaskAdmitted {
  TaskId task_id;
};
struct WorkProgressed {
  TaskId task_id;
  std::uint32_t permille = 0;
};
// The release guard let the report pass; it is durable.
struct WorkReported {
  TaskId task_id;
};
struct WorkRefused {
  TaskId task_id;
  Refusal refusal;
};
struct WorkCancelled {
  TaskId task_id;
};
// The coordinator's answer to a report, or why there was none.
struct ReportAnswered {
  TaskId task_id;
  Status answer;
  Duration retry_after;
};
struct DrainRequested {};
struct TimePassed {};

using Event = std::variant<LinkOpened, LinkClosed, CoordinatorGreeted, TaskArrived, TaskWithdrawn,
                           JobEnded, CoordinatorDraining, CoordinatorMisbehaved, TaskAdmitted,
                           WorkProgressed, WorkReported, WorkRefused, WorkCancelled, ReportAnswered,
                           DrainRequested, TimePassed>;

// ------------------------------------------------------------------ actions: what to do, in order

struct Dial {};
struct HangUp {};
struct SendHello {
  std::vector<TaskId> active_tasks;
};
struct SendHeartbeat {};
struct SendAccepted {
  TaskId task_id;
};
struct SendRefused {
  TaskId task_id;
  Refusal refusal;
};
struct SendProgress {
  TaskId task_id;
  std::uint32_t permille = 0;
};
// Into the journal. No refusal: the task was allowed.
struct RecordVerdict {
  std::shared_ptr<const v1::Task> task;
  std::optional<Refusal> refusal;
};
// Into the journal: which coordinator is followed, and how far it is.
struct RecordCoordinator {
  KnownCoordinators known;
};
// Held against the ledger before anything private is computed.
struct TakeReceipt {
  privacy::LedgerHead receipt;
};
// Nothing more is computed for the job: the ledger need not hold steps for it.
struct ReleaseBudget {
  JobId job_id;
};
struct StartWork {
  std::shared_ptr<const v1::Task> task;
  Time deadline;  // By our clock.
};
struct CancelWork {
  TaskId task_id;
};
struct SendReport {
  TaskId task_id;
};
struct SettleReport {
  TaskId task_id;
  std::string outcome;  // kAcknowledged, or why the coordinator does not want it.
};
// For the log, the metrics and the back-off.
struct AnnounceConnected {};
// Connected for a whole heartbeat interval, or the coordinator took a report: it works.
struct AnnounceSteady {};
struct AnnounceLost {
  std::string reason;
  Duration retry_in;
};
// Nothing follows: the driver may end.
struct Stop {};

using Action = std::variant<Dial, HangUp, SendHello, SendHeartbeat, SendAccepted, SendRefused,
                            SendProgress, RecordVerdict, RecordCoordinator, TakeReceipt,
                            ReleaseBudget, StartWork, CancelWork, SendReport, SettleReport,
                            AnnounceConnected, AnnounceSteady, AnnounceLost, Stop>;

// ------------------------------------------------------------------ states

struct Disconnected {
  Time retry_at;
  std::string reason;
};
// Dialled; waiting for the coordinator's hello.
struct Connecting {
  Time give_up_at;
};
struct Connected {
  Duration heartbeat_interval;
  Time next_heartbeat;
  Time last_heard;
  // The coordinator greets again in answer to heartbeats, so that its silence means something. One
  // that does not is watched by the transport's keepalive alone.
  bool answers_heartbeats = false;
  bool is_steady = false;
  bool is_coordinator_draining = false;
};
// Hung up; waiting for the stream to end.
struct Closing {
  std::string reason;
};
struct Stopped {};
using LinkState = std::variant<Disconnected, Connecting, Connected, Closing, Stopped>;

struct QueuedTask {
  std::shared_ptr<const v1::Task> task;
  Time deadline;  // By our clock.
};
struct WorkInHand {
  QueuedTask task;
  bool is_cancelled = false;  // Told to stop; whatever it comes to is not reported.
  std::optional<Time> progress_sent_at = std::nullopt;
  std::uint32_t permille = 0;
};
struct UnsettledReport {
  bool is_in_flight = false;
  Time retry_at;
};

struct SessionOptions {
  Duration connect_timeout = std::chrono::seconds(30);  // From dialling to the coordinator's hello.
  Duration drain_timeout = std::chrono::seconds(20);    // For reports under way once asked to stop.
  Duration progress_interval = std::chrono::seconds(1);
  std::size_t max_queued_tasks = 32;
};

// Reconnects for ever, works on one task at a time whether connected or not, and keeps every report
// until the coordinator gave its last word on it. The same events at the same times give the same
// actions. Not thread-safe.
class Session {
 public:
  struct State {
    LinkState link;
    std::deque<QueuedTask> queue;
    std::optional<WorkInHand> work;
    std::map<TaskId, UnsettledReport> reports;
    Duration clock_offset{0};  // The coordinator's clock minus ours.
    KnownCoordinators known;
    std::optional<Time> drain_deadline;  // Set once asked to stop.
  };

  // `unsettled_reports` and `known`: what the journal holds. The first TimePassed dials.
  Session(SessionOptions options, const std::vector<TaskId>& unsettled_reports, Time now,
          KnownCoordinators known = {});

  // Applies one event that happened at `now`. On error the state is unchanged: FAILED_PRECONDITION,
  // the event has no meaning in this state.
  [[nodiscard]] StatusOr<std::vector<Action>> Step(const Event& event, Time now);

  // When a TimePassed is due. Nothing: only an event can change anything.
  [[nodiscard]] std::optional<Time> NextDeadline() const;
  [[nodiscard]] const State& state() const { return state_; }
  // One line for people: what the session does and what it waits for.
  [[nodiscard]] std::string Describe(Time now) const;

 private:
  struct Transition {
    State next;
    std::vector<Action> actions;
  };
  [[nodiscard]] StatusOr<Transition> On(State state, const LinkOpened& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const LinkClosed& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const CoordinatorGreeted& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const TaskArrived& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const TaskWithdrawn& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const JobEnded& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const CoordinatorDraining& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const CoordinatorMisbehaved& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const TaskAdmitted& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const WorkProgressed& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const WorkReported& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const WorkRefused& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const WorkCancelled& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const ReportAnswered& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const DrainRequested& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(State state, const TimePassed& event, Time now) const;

  SessionOptions options_;
  State state_;
};

}  // namespace chorale::site_agent
