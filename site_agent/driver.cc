#include "site_agent/driver.h"

#include <algorithm>
#include <utility>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/log.h"
#include "site_agent/session_messages.h"

namespace chorale::site_agent {
namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(250);
constexpr Duration kLongestPause = std::chrono::seconds(30);
constexpr Duration kProgressInterval = std::chrono::seconds(1);
constexpr std::ptrdiff_t kMaxOpenJobs = 64;

double SecondsOf(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

// Carries out one action. Runs on the session's thread.
class Driver::Performer {
 public:
  Performer(Driver& driver, Time now) : driver_(driver), now_(now) {}

  void operator()(const site_agent::Dial&) { driver_.parts_.link.Dial(driver_); }
  void operator()(const site_agent::HangUp&) { driver_.parts_.link.HangUp(); }

  void operator()(const SendHello& action) {
    driver_.told_head_.reset();
    driver_.Send(HelloRelease{.datasets = driver_.parts_.datasets,
                              .active_tasks = action.active_tasks,
                              .instance = driver_.parts_.instance,
                              .state = driver_.parts_.state,
                              .ledger = driver_.HeadToTell(),
                              .open_jobs = driver_.OpenJobs()});
  }
  void operator()(const SendHeartbeat&) {
    driver_.Send(HeartbeatRelease{.ledger = driver_.HeadToTell()});
  }
  void operator()(const SendAccepted& action) { driver_.Send(AcceptedRelease{action.task_id}); }
  void operator()(const SendRefused& action) {
    driver_.Send(RefusedRelease{action.task_id, action.refusal});
  }
  void operator()(const SendProgress& action) {
    driver_.Send(ProgressRelease{action.task_id, action.permille});
  }

  void operator()(const RecordVerdict& action) {
    const std::string_view verdict =
        action.refusal.has_value() ? NameOf(action.refusal->code) : "allowed";
    const Status recorded = driver_.parts_.journal.RecordTask(
        {.task_id = TaskId(action.task->task_id()),
         .job_id = JobId(action.task->job_id()),
         .job_digest = crypto::Sha256(AsBytes(action.task->job().spec())),
         .verdict = std::string(verdict),
         .time = driver_.parts_.clock.WallNow()});
    if (!recorded.ok()) log::Error("journal.failed", {{"reason", MessageOf(recorded)}});
    if (!action.refusal.has_value()) return;
    driver_.parts_.metrics.tasks_refused.Increment();
    log::Info("task.refused", {{"task", action.task->task_id()}, {"code", verdict}});
  }

  void operator()(const RecordCoordinator& action) {
    const Status recorded = driver_.parts_.journal.RecordCoordinators(action.known);
    if (!recorded.ok()) log::Error("journal.failed", {{"reason", MessageOf(recorded)}});
  }

  void operator()(const TakeReceipt& action) {
    if (driver_.parts_.accounts != nullptr) driver_.parts_.accounts->TakeReceipt(action.receipt);
  }

  void operator()(const ReleaseBudget& action) {
    if (driver_.parts_.accounts == nullptr) return;
    const Status released = driver_.parts_.accounts->Release(action.job_id);
    // It is told again after the next hello.
    if (!released.ok()) log::Error("ledger.failed", {{"reason", MessageOf(released)}});
  }

  void operator()(const StartWork& action) {
    driver_.parts_.metrics.tasks_taken.Increment();
    log::Info("task.taken", {{"task", action.task->task_id()},
                             {"job", action.task->job_id()},
                             {"round", action.task->round()}});
    driver_.cancellation_ = std::make_shared<Cancellation>();
    driver_.work_started_ = now_;
    driver_.jobs_.Push({action.task, driver_.cancellation_});
  }

  void operator()(const CancelWork& action) {
    log::Info("task.cancelled", {{"task", action.task_id.value()}});
    driver_.cancellation_->Cancel();
  }

  void operator()(const SendReport& action) { driver_.reports_.Push(action.task_id); }

  void operator()(const site_agent::SettleReport& action) {
    driver_.report_backoff_.Reset();
    const Status settled = driver_.parts_.journal.SettleReport(action.task_id, action.outcome,
                                                               driver_.parts_.clock.WallNow());
    if (!settled.ok()) log::Error("journal.failed", {{"reason", MessageOf(settled)}});
    if (action.outcome == kAcknowledged) {
      driver_.parts_.metrics.reports_acknowledged.Increment();
      log::Info("report.acknowledged", {{"task", action.task_id.value()}});
    } else {
      driver_.parts_.metrics.reports_discarded.Increment();
      log::Warning("report.discarded",
                   {{"task", action.task_id.value()}, {"reason", action.outcome}});
    }
  }

  void operator()(const AnnounceConnected&) {
    driver_.parts_.metrics.is_connected.Set(1);
    log::Info("session.connected");
  }
  void operator()(const AnnounceSteady&) { driver_.dial_backoff_.Reset(); }
  void operator()(const AnnounceLost& action) {
    driver_.parts_.metrics.is_connected.Set(0);
    driver_.parts_.metrics.sessions_lost.Increment();
    log::Warning("session.lost",
                 {{"reason", action.reason}, {"retry_in", FormatDuration(action.retry_in)}});
  }
  void operator()(const Stop&) {
    driver_.parts_.metrics.is_connected.Set(0);
    driver_.is_stopped_ = true;
  }

 private:
  Driver& driver_;
  const Time now_;
};

StatusOr<std::unique_ptr<Driver>> Driver::Create(SessionOptions options, DriverParts parts) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<TaskId> pending, parts.journal.PendingReports());
  CHORALE_ASSIGN_OR_RETURN(KnownCoordinators known, parts.journal.LoadCoordinators());
  return std::unique_ptr<Driver>(new Driver(options, std::move(parts), pending, std::move(known)));
}

Driver::Driver(SessionOptions options, DriverParts parts,
               const std::vector<TaskId>& unsettled_reports, KnownCoordinators known)
    : parts_(std::move(parts)),
      session_(options, unsettled_reports, parts_.clock.Now(), std::move(known)),
      dial_backoff_(kFirstPause, kLongestPause, parts_.random),
      report_backoff_(kFirstPause, kLongestPause, parts_.random) {}

Driver::~Driver() {
  Drain();
  Wait();
}

void Driver::Start() {
  worker_thread_ = std::thread([this] { RunWorker(); });
  reporter_thread_ = std::thread([this] { RunReporter(); });
  session_thread_ = std::thread([this] { RunSession(); });
}

void Driver::Drain() { inbox_.Push(Event(DrainRequested{})); }

void Driver::Wait() {
  if (session_thread_.joinable()) session_thread_.join();
  if (worker_thread_.joinable()) worker_thread_.join();
  if (reporter_thread_.joinable()) reporter_thread_.join();
}

void Driver::OnOpened() { inbox_.Push(Event(LinkOpened{})); }
void Driver::OnMessage(v1::CoordinatorMessage message) { inbox_.Push(std::move(message)); }
void Driver::OnClosed(const Status& reason) { inbox_.Push(Lost{MessageOf(reason)}); }

void Driver::RunSession() {
  while (!is_stopped_) {
    const std::optional<Time> deadline = session_.NextDeadline();
    std::optional<Inbound> inbound;
    if (deadline.has_value()) {
      const Duration wait = *deadline - parts_.clock.Now();
      if (wait > Duration::zero()) inbound = inbox_.PopWithin(wait);
    } else {
      inbound = inbox_.Pop();
    }
    Take(std::move(inbound));
  }
  if (cancellation_ != nullptr) cancellation_->Cancel();
  jobs_.Close();
  reports_.Close();
}

void Driver::Take(std::optional<Inbound> inbound) {
  if (!inbound.has_value()) return Apply(TimePassed{});
  if (const std::optional<Event> event = ToEvent(*std::move(inbound))) Apply(*event);
}

bool Driver::StepSession() {
  if (is_stopped_) return false;
  std::optional<Inbound> inbound = inbox_.PopWithin(Duration::zero());
  const std::optional<Time> deadline = session_.NextDeadline();
  const bool is_due = deadline.has_value() && *deadline <= parts_.clock.Now();
  if (!inbound.has_value() && !is_due) return false;
  Take(std::move(inbound));
  return true;
}

std::optional<Event> Driver::ToEvent(Inbound inbound) {
  if (auto* event = std::get_if<Event>(&inbound)) return std::move(*event);
  if (auto* lost = std::get_if<Lost>(&inbound)) {
    return LinkClosed{std::move(lost->reason), dial_backoff_.Next()};
  }
  if (auto* answer = std::get_if<Answer>(&inbound)) {
    return ReportAnswered{answer->task_id, answer->status, report_backoff_.Next()};
  }
  std::optional<Event> event = DecodeMessage(std::get<v1::CoordinatorMessage>(std::move(inbound)));
  if (!event.has_value()) {
    log::Debug("session.message_ignored");
    return std::nullopt;
  }
  if (auto* arrived = std::get_if<TaskArrived>(&*event)) {
    const StatusOr<ReportState> state = parts_.journal.FindReport(TaskId(arrived->task->task_id()));
    if (!state.ok()) {
      log::Error("journal.failed", {{"reason", MessageOf(state.status())}});
      return std::nullopt;  // Not knowing whether it was reported, the site does not work on it.
    }
    arrived->is_settled = *state == ReportState::kAcknowledged || *state == ReportState::kDiscarded;
  }
  return event;
}

void Driver::Apply(const Event& event) {
  const Time now = parts_.clock.Now();
  StatusOr<std::vector<Action>> actions = session_.Step(event, now);
  if (!actions.ok()) {
    log::Debug("session.event_refused", {{"reason", MessageOf(actions.status())}});
    return;
  }
  if (std::holds_alternative<DrainRequested>(event)) {
    log::Info("agent.draining", {{"state", session_.Describe(now)}});
  }
  Performer performer(*this, now);
  for (const Action& action : *actions) std::visit(performer, action);
  // What a report was charged is told at once, so that a ledger put back to before it is
  // recognised.
  if (std::holds_alternative<WorkReported>(event) &&
      std::holds_alternative<Connected>(session_.state().link)) {
    if (const auto head = HeadToTell()) Send(HeartbeatRelease{.ledger = head});
  }
}

std::vector<JobId> Driver::OpenJobs() const {
  if (parts_.accounts == nullptr) return {};
  std::vector<JobId> jobs = parts_.accounts->OpenJobs();
  // The newest; the others once these are released.
  if (std::ssize(jobs) > kMaxOpenJobs) jobs.erase(jobs.begin(), jobs.end() - kMaxOpenJobs);
  return jobs;
}

std::optional<privacy::LedgerHead> Driver::HeadToTell() {
  if (parts_.accounts == nullptr) return std::nullopt;
  const privacy::LedgerHead head = parts_.accounts->Head();
  if (head.seq == 0 || told_head_ == head) return std::nullopt;
  told_head_ = head;
  return head;
}

void Driver::Send(const ControlRelease& release) {
  const Status sent = parts_.guard.Release(release);
  // A stream that ends meanwhile is told as such; anything else means that the guard or the journal
  // said no.
  if (sent.ok() || sent.code() == StatusCode::kUnavailable) return;
  log::Error("release.failed", {{"reason", MessageOf(sent)}});
}

void Driver::RunWorker() {
  while (const std::optional<Job> job = jobs_.Pop()) RunTask(*job);
}

bool Driver::StepWorker() {
  const std::optional<Job> job = jobs_.PopWithin(Duration::zero());
  if (job.has_value()) RunTask(*job);
  return job.has_value();
}

void Driver::RunTask(const Job& job) {
  const v1::Task& task = *job.task;
  Time last_progress = parts_.clock.Now();
  const WorkObserver observer{
      .on_admitted = [&] { inbox_.Push(Event(TaskAdmitted{TaskId(task.task_id())})); },
      .on_progress =
          [&](double share) {
            const Time now = parts_.clock.Now();
            if (now - last_progress < kProgressInterval) return;
            last_progress = now;
            const double permille = std::clamp(share, 0.0, 1.0) * 1000;
            inbox_.Push(Event(
                WorkProgressed{TaskId(task.task_id()), static_cast<std::uint32_t>(permille)}));
          }};
  WorkOutcome outcome = parts_.work.Run(task, *job.cancellation, observer);
  const Event event = EventOf(task, std::move(outcome), *job.cancellation);
  // A training that was cancelled may be asked for again: the site stops, or the round begins anew.
  if (!std::holds_alternative<WorkCancelled>(event)) parts_.work.ForgetProgress();
  inbox_.Push(event);
}

Event Driver::EventOf(const v1::Task& task, WorkOutcome outcome, const Cancellation& cancellation) {
  const TaskId task_id(task.task_id());
  if (std::holds_alternative<WorkWasCancelled>(outcome) || cancellation.is_cancelled()) {
    return WorkCancelled{task_id};
  }
  if (auto* refusal = std::get_if<Refusal>(&outcome)) return WorkRefused{task_id, *refusal};
  if (auto* message = std::get_if<MessageRelease>(&outcome)) {
    return AfterRelease(task, parts_.guard.Release(*message));
  }
  return Release(task, std::get<WorkDone>(outcome));
}

Event Driver::Release(const v1::Task& task, const WorkDone& done) {
  const Status passed = done.masking.has_value()
                            ? parts_.guard.Release(done.terms, done.report, *done.masking)
                            : parts_.guard.Release(done.terms, done.report);
  if (passed.ok()) {
    log::Info("task.done", {{"task", task.task_id()},
                            {"examples", done.report.num_examples},
                            {"training_seconds", SecondsOf(done.report.training_time)}});
  }
  return AfterRelease(task, passed);
}

Event Driver::AfterRelease(const v1::Task& task, const Status& passed) {
  const TaskId task_id(task.task_id());
  if (passed.ok() || passed.code() == StatusCode::kAlreadyExists) return WorkReported{task_id};
  log::Error("release.failed", {{"task", task.task_id()}, {"reason", MessageOf(passed)}});
  if (std::optional<Refusal> refusal = RefusalOfSecureAggregation(passed)) {
    return WorkRefused{task_id, *std::move(refusal)};
  }
  const bool is_full = passed.code() == StatusCode::kResourceExhausted;
  return WorkRefused{task_id,
                     {.code = is_full ? ReasonCode::kResourceLimit : ReasonCode::kInternalError}};
}

void Driver::RunReporter() {
  while (std::optional<TaskId> task_id = reports_.Pop()) Deliver(*std::move(task_id));
}

bool Driver::StepReporter() {
  std::optional<TaskId> task_id = reports_.PopWithin(Duration::zero());
  if (task_id.has_value()) Deliver(*task_id);
  return task_id.has_value();
}

void Driver::Deliver(TaskId task_id) {
  const Status answer = parts_.guard.Deliver(task_id);
  if (!answer.ok() && answer.code() != StatusCode::kAlreadyExists) {
    log::Warning("report.not_taken", {{"task", task_id.value()}, {"reason", MessageOf(answer)}});
  }
  inbox_.Push(Answer{std::move(task_id), answer});
}

}  // namespace chorale::site_agent
