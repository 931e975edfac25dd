#include "site_agent/session.h"

#include <algorithm>
#include <utility>

#include "site_agent/journal.h"

namespace chorale::site_agent {
namespace {

using Actions = std::vector<Action>;
using State = Session::State;

constexpr Duration kMinHeartbeatInterval = std::chrono::seconds(1);
constexpr Duration kMaxHeartbeatInterval = std::chrono::minutes(5);
constexpr int kMissedIntervals = 3;
constexpr std::size_t kMaxActiveTasks = 64;

Status NoMeaning(std::string_view what) {
  return FailedPrecondition(std::string(what) + " has no meaning in this state");
}

TaskId IdOf(const QueuedTask& task) { return TaskId(task.task->task_id()); }

bool IsConnected(const State& state) { return std::holds_alternative<Connected>(state.link); }
bool IsClosing(const State& state) { return std::holds_alternative<Closing>(state.link); }
bool IsDraining(const State& state) { return state.drain_deadline.has_value(); }

bool IsInHand(const State& state, const TaskId& task_id) {
  return state.work.has_value() && IdOf(state.work->task) == task_id;
}

bool HasReportInFlight(const State& state) {
  return std::ranges::any_of(state.reports,
                             [](const auto& entry) { return entry.second.is_in_flight; });
}

std::vector<TaskId> ActiveTasks(const State& state) {
  std::vector<TaskId> active;
  for (const auto& [task_id, report] : state.reports) active.push_back(task_id);
  if (state.work.has_value() && !state.work->is_cancelled) active.push_back(IdOf(state.work->task));
  for (const QueuedTask& task : state.queue) active.push_back(IdOf(task));
  if (active.size() > kMaxActiveTasks) active.resize(kMaxActiveTasks);
  return active;
}

// The coordinator will not change its mind about these.
bool IsLastWord(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
    case StatusCode::kAlreadyExists:
    case StatusCode::kInvalidArgument:
    case StatusCode::kNotFound:
    case StatusCode::kPermissionDenied:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kOutOfRange:
    case StatusCode::kUnimplemented:
      return true;
    default:
      return false;
  }
}

void CloseLink(State& state, std::string reason, Actions& actions) {
  state.link = Closing{std::move(reason)};
  actions.push_back(HangUp{});
}

void RefuseTask(const State& state, const QueuedTask& task, Refusal refusal, Actions& actions) {
  actions.push_back(RecordVerdict{task.task, refusal});
  // Without a session nobody hears it; the coordinator asks again once there is one.
  if (IsConnected(state)) actions.push_back(SendRefused{IdOf(task), std::move(refusal)});
}

void CancelWorkInHand(State& state, Actions& actions) {
  if (!state.work.has_value() || state.work->is_cancelled) return;
  state.work->is_cancelled = true;
  actions.push_back(CancelWork{IdOf(state.work->task)});
}

void StartNextTask(State& state, Actions& actions) {
  if (state.work.has_value() || state.queue.empty() || IsDraining(state)) return;
  state.work = WorkInHand{.task = std::move(state.queue.front())};
  state.queue.pop_front();
  actions.push_back(StartWork{state.work->task.task, state.work->task.deadline});
}

// Sends what is not under way and, with `due`, has waited long enough.
void SendReports(State& state, std::optional<Time> due, Actions& actions) {
  if (!IsConnected(state)) return;
  for (auto& [task_id, report] : state.reports) {
    if (report.is_in_flight || (due.has_value() && report.retry_at > *due)) continue;
    report.is_in_flight = true;
    actions.push_back(SendReport{task_id});
  }
}

void ExpireTasks(State& state, Time now, Actions& actions) {
  const Refusal expired{.code = ReasonCode::kTaskExpired};
  if (state.work.has_value() && !state.work->is_cancelled && state.work->task.deadline <= now) {
    CancelWorkInHand(state, actions);
    RefuseTask(state, state.work->task, expired, actions);
  }
  std::deque<QueuedTask> waiting;
  for (QueuedTask& task : state.queue) {
    if (task.deadline <= now) {
      RefuseTask(state, task, expired, actions);
    } else {
      waiting.push_back(std::move(task));
    }
  }
  state.queue = std::move(waiting);
}

// Once asked to stop: hangs up when nothing is under way that the coordinator should still get, or
// time is up.
void ContinueDrain(State& state, Time now, Actions& actions) {
  if (!IsDraining(state) || IsClosing(state)) return;
  if (std::holds_alternative<Stopped>(state.link)) return;
  if (std::holds_alternative<Disconnected>(state.link)) {
    state.link = Stopped{};
    actions.push_back(Stop{});
    return;
  }
  const bool is_busy = HasReportInFlight(state) || state.work.has_value();
  if (IsConnected(state) && is_busy && now < *state.drain_deadline) return;
  CloseLink(state, "the site agent stops", actions);
}

std::optional<Time> LinkDeadline(const State& state) {
  if (const auto* disconnected = std::get_if<Disconnected>(&state.link))
    return disconnected->retry_at;
  if (const auto* connecting = std::get_if<Connecting>(&state.link)) return connecting->give_up_at;
  if (const auto* connected = std::get_if<Connected>(&state.link)) {
    // Silence is looked at when a heartbeat is due, which is often enough.
    return connected->next_heartbeat;
  }
  return std::nullopt;
}

void AnnounceSteadyOnce(State& state, Actions& actions) {
  auto* connected = std::get_if<Connected>(&state.link);
  if (connected == nullptr || std::exchange(connected->is_steady, true)) return;
  actions.push_back(AnnounceSteady{});
}

void ConnectedTimePassed(State& state, Time now, Actions& actions) {
  Connected& connected = std::get<Connected>(state.link);
  if (connected.answers_heartbeats &&
      now - connected.last_heard > kMissedIntervals * connected.heartbeat_interval) {
    CloseLink(state,
              "nothing heard from the coordinator for " +
                  FormatDuration(kMissedIntervals * connected.heartbeat_interval),
              actions);
    return;
  }
  if (connected.next_heartbeat <= now) {
    connected.next_heartbeat = now + connected.heartbeat_interval;
    actions.push_back(SendHeartbeat{});
    AnnounceSteadyOnce(state, actions);
  }
  SendReports(state, now, actions);
}

}  // namespace

Session::Session(SessionOptions options, const std::vector<TaskId>& unsettled_reports, Time now,
                 KnownCoordinators known)
    : options_(options) {
  state_.known = std::move(known);
  state_.link = Disconnected{.retry_at = now, .reason = "starting"};
  for (const TaskId& task_id : unsettled_reports) state_.reports[task_id].retry_at = now;
}

StatusOr<std::vector<Action>> Session::Step(const Event& event, Time now) {
  CHORALE_ASSIGN_OR_RETURN(
      Transition transition,
      std::visit([&](const auto& what) { return On(state_, what, now); }, event));
  state_ = std::move(transition.next);
  return std::move(transition.actions);
}

StatusOr<Session::Transition> Session::On(State state, const LinkOpened&, Time) const {
  if (IsClosing(state)) return Transition{.next = std::move(state), .actions = {}};
  if (!std::holds_alternative<Connecting>(state.link)) return NoMeaning("an opened stream");
  Actions actions = {SendHello{ActiveTasks(state)}};
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const LinkClosed& event, Time now) const {
  std::string reason = event.reason;
  if (const auto* closing = std::get_if<Closing>(&state.link)) {
    reason = closing->reason;
  } else if (const auto* connected = std::get_if<Connected>(&state.link)) {
    if (connected->is_coordinator_draining) reason = "the coordinator is stopping";
  } else if (!std::holds_alternative<Connecting>(state.link)) {
    return NoMeaning("a closed stream");
  }
  Actions actions;
  if (IsDraining(state)) {
    state.link = Stopped{};
    actions.push_back(Stop{});
  } else {
    state.link = Disconnected{.retry_at = now + event.retry_after, .reason = reason};
    actions.push_back(AnnounceLost{std::move(reason), event.retry_after});
  }
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const CoordinatorGreeted& event,
                                          Time now) const {
  Actions actions;
  if (IsClosing(state)) return Transition{.next = std::move(state), .actions = {}};
  const bool is_first = std::holds_alternative<Connecting>(state.link);
  if (!is_first && !IsConnected(state)) return NoMeaning("a greeting");
  if (event.heartbeat_interval < kMinHeartbeatInterval ||
      event.heartbeat_interval > kMaxHeartbeatInterval) {
    CloseLink(state,
              "the coordinator's heartbeat_interval must be in [1 s, 5 min], got " +
                  FormatDuration(event.heartbeat_interval),
              actions);
    return Transition{.next = std::move(state), .actions = std::move(actions)};
  }
  if (event.state.has_value()) {
    StatusOr<KnownCoordinators> known = Follow(state.known, *event.state);
    if (!known.ok()) {
      CloseLink(state, MessageOf(known.status()), actions);
      return Transition{.next = std::move(state), .actions = std::move(actions)};
    }
    if (*known != state.known) actions.push_back(RecordCoordinator{*known});
    state.known = *std::move(known);
  } else if (state.known.current.has_value()) {
    CloseLink(state,
              "the coordinator does not tell its state, and one that did was followed before",
              actions);
    return Transition{.next = std::move(state), .actions = std::move(actions)};
  }
  if (event.receipt.has_value()) actions.push_back(TakeReceipt{*event.receipt});
  if (event.clock.has_value()) state.clock_offset = *event.clock - now;
  if (is_first) {
    state.link = Connected{.heartbeat_interval = event.heartbeat_interval,
                           .next_heartbeat = now + event.heartbeat_interval,
                           .last_heard = now};
    actions.push_back(AnnounceConnected{});
    SendReports(state, std::nullopt, actions);
  } else {
    Connected& connected = std::get<Connected>(state.link);
    connected.last_heard = now;
    connected.answers_heartbeats = true;
  }
  ContinueDrain(state, now, actions);
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const TaskArrived& event, Time now) const {
  Actions actions;
  if (IsClosing(state)) return Transition{.next = std::move(state), .actions = {}};
  if (std::holds_alternative<Connecting>(state.link)) {
    CloseLink(state, "the coordinator sent a task before its hello", actions);
    return Transition{.next = std::move(state), .actions = std::move(actions)};
  }
  if (!IsConnected(state)) return NoMeaning("a task");
  std::get<Connected>(state.link).last_heard = now;
  if (std::optional<CoordinatorState>& known = state.known.current;
      known.has_value() && event.state_version > known->version) {
    known->version = event.state_version;
    actions.push_back(RecordCoordinator{state.known});
  }

  QueuedTask task{.task = event.task, .deadline = event.report_deadline - state.clock_offset};
  const TaskId task_id = IdOf(task);
  const bool is_queued =
      std::ranges::any_of(state.queue, [&](const auto& other) { return IdOf(other) == task_id; });
  const bool is_in_hand = IsInHand(state, task_id) && !state.work->is_cancelled;
  if (const auto report = state.reports.find(task_id); report != state.reports.end()) {
    if (!report->second.is_in_flight) {
      report->second.is_in_flight = true;
      actions.push_back(SendReport{task_id});
    }
  } else if (event.is_settled) {
    RefuseTask(state, task, {.code = ReasonCode::kTaskRepeated}, actions);
  } else if (is_queued || is_in_hand) {
    // Asked again after a reconnection: the answer is under way. The coordinator may have been
    // away, and gives it longer.
    for (QueuedTask& queued : state.queue) {
      if (IdOf(queued) == task_id) queued.deadline = task.deadline;
    }
    if (is_in_hand) state.work->task.deadline = task.deadline;
  } else if (IsDraining(state)) {
    RefuseTask(state, task, {.code = ReasonCode::kSiteStopping}, actions);
  } else if (task.deadline <= now) {
    RefuseTask(state, task, {.code = ReasonCode::kTaskExpired}, actions);
  } else if (state.queue.size() >= options_.max_queued_tasks) {
    RefuseTask(state, task, {.code = ReasonCode::kBusy, .limit = options_.max_queued_tasks},
               actions);
  } else {
    state.queue.push_back(std::move(task));
    StartNextTask(state, actions);
  }
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const TaskWithdrawn& event, Time now) const {
  Actions actions;
  if (IsClosing(state)) return Transition{.next = std::move(state), .actions = {}};
  if (!IsConnected(state)) return NoMeaning("a withdrawal");
  std::get<Connected>(state.link).last_heard = now;
  std::erase_if(state.queue, [&](const auto& task) { return IdOf(task) == event.task_id; });
  if (IsInHand(state, event.task_id)) CancelWorkInHand(state, actions);
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const JobEnded& event, Time now) const {
  Actions actions;
  if (IsClosing(state)) return Transition{.next = std::move(state), .actions = {}};
  if (!IsConnected(state)) return NoMeaning("the end of a job");
  std::get<Connected>(state.link).last_heard = now;
  const auto is_of_job = [&](const QueuedTask& task) {
    return task.task->job_id() == event.job_id.value();
  };
  std::erase_if(state.queue, is_of_job);
  if (state.work.has_value() && is_of_job(state.work->task)) CancelWorkInHand(state, actions);
  actions.push_back(ReleaseBudget{event.job_id});
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const CoordinatorDraining&, Time now) const {
  if (IsClosing(state)) return Transition{.next = std::move(state), .actions = {}};
  if (!IsConnected(state)) return NoMeaning("the coordinator's goodbye");
  Connected& connected = std::get<Connected>(state.link);
  connected.last_heard = now;
  connected.is_coordinator_draining = true;
  return Transition{.next = std::move(state), .actions = {}};
}

StatusOr<Session::Transition> Session::On(State state, const CoordinatorMisbehaved& event,
                                          Time) const {
  Actions actions;
  if (IsClosing(state)) return Transition{.next = std::move(state), .actions = {}};
  if (!IsConnected(state) && !std::holds_alternative<Connecting>(state.link)) {
    return NoMeaning("a message");
  }
  CloseLink(state, "the coordinator sent what it must not: " + event.problem, actions);
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const TaskAdmitted& event, Time) const {
  if (!IsInHand(state, event.task_id)) return NoMeaning("an admitted task");
  Actions actions;
  if (!state.work->is_cancelled) {
    actions.push_back(RecordVerdict{state.work->task.task, std::nullopt});
    if (IsConnected(state)) actions.push_back(SendAccepted{event.task_id});
  }
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const WorkProgressed& event,
                                          Time now) const {
  if (!IsInHand(state, event.task_id)) return NoMeaning("progress");
  Actions actions;
  WorkInHand& work = *state.work;
  const bool is_due = !work.progress_sent_at.has_value() ||
                      now - *work.progress_sent_at >= options_.progress_interval;
  if (!work.is_cancelled && IsConnected(state) && event.permille > work.permille && is_due) {
    work.permille = event.permille;
    work.progress_sent_at = now;
    actions.push_back(SendProgress{event.task_id, event.permille});
  }
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const WorkReported& event, Time now) const {
  if (!IsInHand(state, event.task_id)) return NoMeaning("a report");
  Actions actions;
  state.work.reset();
  // The report exists and stands, even when the task was withdrawn meanwhile: the coordinator's
  // answer settles it.
  state.reports[event.task_id] = UnsettledReport{.retry_at = now};
  std::erase_if(state.queue, [&](const auto& task) { return IdOf(task) == event.task_id; });
  SendReports(state, now, actions);
  StartNextTask(state, actions);
  ContinueDrain(state, now, actions);
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const WorkRefused& event, Time now) const {
  if (!IsInHand(state, event.task_id)) return NoMeaning("a refusal");
  Actions actions;
  const WorkInHand work = *std::move(state.work);
  state.work.reset();
  if (!work.is_cancelled) RefuseTask(state, work.task, event.refusal, actions);
  StartNextTask(state, actions);
  ContinueDrain(state, now, actions);
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const WorkCancelled& event, Time now) const {
  if (!IsInHand(state, event.task_id)) return NoMeaning("the end of a task");
  Actions actions;
  state.work.reset();
  StartNextTask(state, actions);
  ContinueDrain(state, now, actions);
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const ReportAnswered& event,
                                          Time now) const {
  const auto report = state.reports.find(event.task_id);
  if (report == state.reports.end() || !report->second.is_in_flight) {
    return NoMeaning("the answer to a report");
  }
  Actions actions;
  if (IsLastWord(event.answer.code())) {
    const bool is_held = event.answer.ok() || event.answer.code() == StatusCode::kAlreadyExists;
    state.reports.erase(report);
    actions.push_back(SettleReport{event.task_id,
                                   is_held ? std::string(kAcknowledged) : MessageOf(event.answer)});
    if (is_held) AnnounceSteadyOnce(state, actions);
  } else {
    report->second.is_in_flight = false;
    report->second.retry_at = now + event.retry_after;
  }
  ContinueDrain(state, now, actions);
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const DrainRequested&, Time now) const {
  if (IsDraining(state)) return Transition{.next = std::move(state), .actions = {}};
  Actions actions;
  const Refusal stopping{.code = ReasonCode::kSiteStopping};
  if (state.work.has_value() && !state.work->is_cancelled) {
    // First stop, then tell: what is told as given up must not report after all.
    CancelWorkInHand(state, actions);
    RefuseTask(state, state.work->task, stopping, actions);
  }
  for (const QueuedTask& task : state.queue) RefuseTask(state, task, stopping, actions);
  state.queue.clear();
  state.drain_deadline = now + options_.drain_timeout;
  ContinueDrain(state, now, actions);
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

StatusOr<Session::Transition> Session::On(State state, const TimePassed&, Time now) const {
  Actions actions;
  ExpireTasks(state, now, actions);
  if (const auto* disconnected = std::get_if<Disconnected>(&state.link)) {
    if (disconnected->retry_at <= now && !IsDraining(state)) {
      state.link = Connecting{.give_up_at = now + options_.connect_timeout};
      actions.push_back(Dial{});
    }
  } else if (const auto* connecting = std::get_if<Connecting>(&state.link)) {
    if (connecting->give_up_at <= now) {
      CloseLink(state,
                "the coordinator did not greet within " + FormatDuration(options_.connect_timeout),
                actions);
    }
  } else if (IsConnected(state)) {
    ConnectedTimePassed(state, now, actions);
  }
  ContinueDrain(state, now, actions);
  return Transition{.next = std::move(state), .actions = std::move(actions)};
}

std::optional<Time> Session::NextDeadline() const {
  std::optional<Time> next = LinkDeadline(state_);
  const auto consider = [&next](Time time) {
    if (!next.has_value() || time < *next) next = time;
  };
  if (state_.work.has_value() && !state_.work->is_cancelled) consider(state_.work->task.deadline);
  for (const QueuedTask& task : state_.queue) consider(task.deadline);
  if (IsConnected(state_)) {
    for (const auto& [task_id, report] : state_.reports) {
      if (!report.is_in_flight) consider(report.retry_at);
    }
    if (IsDraining(state_)) consider(*state_.drain_deadline);
  }
  return next;
}

namespace {

struct LinkText {
  Time now;
  std::string operator()(const Disconnected& link) const {
    return "disconnected (" + link.reason + "), next attempt in " +
           FormatDuration(std::max(Duration::zero(), link.retry_at - now));
  }
  std::string operator()(const Connecting& link) const {
    return "connecting, giving up in " +
           FormatDuration(std::max(Duration::zero(), link.give_up_at - now));
  }
  std::string operator()(const Connected&) const { return "connected"; }
  std::string operator()(const Closing& link) const { return "hanging up: " + link.reason; }
  std::string operator()(const Stopped&) const { return "stopped"; }
};

}  // namespace

std::string Session::Describe(Time now) const {
  std::string text = std::visit(LinkText{now}, state_.link);
  if (state_.work.has_value()) text += "; working on " + state_.work->task.task->task_id();
  if (!state_.queue.empty()) text += "; " + std::to_string(state_.queue.size()) + " tasks wait";
  if (!state_.reports.empty()) {
    text += "; " + std::to_string(state_.reports.size()) + " reports not yet acknowledged";
  }
  return text;
}

}  // namespace chorale::site_agent
