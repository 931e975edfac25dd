#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "core/random.h"
#include "core/rpc/channel.h"
#include "core/status.h"
#include "core/storage/state_mark.h"
#include "core/time.h"
#include "site_agent/agent_metrics.h"
#include "site_agent/journal.h"
#include "site_agent/link.h"
#include "site_agent/mailbox.h"
#include "site_agent/privacy_accounts.h"
#include "site_agent/release_guard.h"
#include "site_agent/session.h"
#include "site_agent/work.h"

namespace chorale::site_agent {

// Every reference must outlive the driver.
struct DriverParts {
  Link& link;
  ReleaseGuard& guard;
  Journal& journal;
  Work& work;
  AgentMetrics& metrics;
  const Clock& clock;
  RandomSource& random;                 // For pauses between attempts.
  std::vector<std::string> datasets;    // Told in the hello.
  std::string instance = {};            // Likewise.
  storage::StateMark state = {};        // Likewise.
  PrivacyAccounts* accounts = nullptr;  // None: nothing is told of a ledger.
};

// Gives the session its clock, threads and I/O. Three threads: the session's, on which every event
// is applied and every small record is written; the worker's, which runs one task at a time and
// lets its report pass the guard; the reporter's, which sends reports. Whatever can be large waits
// on the last two, so that heartbeats do not wait.
class Driver final : public LinkObserver {
 public:
  // Errors: the journal's.
  [[nodiscard]] static StatusOr<std::unique_ptr<Driver>> Create(SessionOptions options,
                                                                DriverParts parts);
  // Drains if nobody asked it to, and waits.
  ~Driver() override;

  // Begins. Once.
  void Start();
  // Asks the session to end in an orderly way; returns at once. Safe for concurrent use.
  void Drain();
  // Returns when the session has ended.
  void Wait();

  // What the three threads do, one thing at a time, for whoever owns time and chance. Each returns
  // false when there is nothing to do. REQUIRES: one thread, and never Start().
  bool StepSession();   // One event that waits, or the time that has passed.
  bool StepWorker();    // One task, from its checks to the release guard.
  bool StepReporter();  // One attempt to deliver a report.
  [[nodiscard]] const Session& session() const { return session_; }

  void OnOpened() override;
  void OnMessage(v1::CoordinatorMessage message) override;
  void OnClosed(const Status& reason) override;

 private:
  // Shared: the session cancels what the worker runs.
  using SharedCancellation = std::shared_ptr<Cancellation>;
  struct Job {
    std::shared_ptr<const v1::Task> task;
    SharedCancellation cancellation;
  };
  struct Lost {
    std::string reason;
  };
  struct Answer {
    TaskId task_id;
    Status status;
  };
  using Inbound = std::variant<Event, v1::CoordinatorMessage, Lost, Answer>;
  class Performer;

  Driver(SessionOptions options, DriverParts parts, const std::vector<TaskId>& unsettled_reports,
         KnownCoordinators known);
  void RunSession();
  void RunWorker();
  void RunReporter();
  // What came, or nothing: time has passed.
  void Take(std::optional<Inbound> inbound);
  void RunTask(const Job& job);
  void Deliver(TaskId task_id);
  [[nodiscard]] std::optional<Event> ToEvent(Inbound inbound);
  void Apply(const Event& event);
  [[nodiscard]] Event EventOf(const v1::Task& task, WorkOutcome outcome,
                              const Cancellation& cancellation);
  [[nodiscard]] Event Release(const v1::Task& task, const WorkDone& done);
  // What the guard's answer means for the session.
  [[nodiscard]] Event AfterRelease(const v1::Task& task, const Status& passed);
  void Send(const ControlRelease& release);
  // Where the ledger stands, if that was not told in this session yet.
  [[nodiscard]] std::optional<privacy::LedgerHead> HeadToTell();
  [[nodiscard]] std::vector<JobId> OpenJobs() const;

  const DriverParts parts_;
  Mailbox<Inbound> inbox_;
  Mailbox<Job> jobs_;
  Mailbox<TaskId> reports_;

  // The session thread's own.
  Session session_;
  rpc::Backoff dial_backoff_;
  rpc::Backoff report_backoff_;
  SharedCancellation cancellation_;  // Of the work in hand.
  std::optional<Time> work_started_;
  std::optional<privacy::LedgerHead> told_head_;  // In the present session.
  bool is_stopped_ = false;

  std::thread session_thread_;
  std::thread worker_thread_;
  std::thread reporter_thread_;
};

}  // namespace chorale::site_agent
