#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "coordinator/cohort.h"
#include "coordinator/coordinator_metrics.h"
#include "coordinator/job_entry.h"
#include "coordinator/members.h"
#include "coordinator/payload_store.h"
#include "coordinator/site_sessions.h"
#include "coordinator/store.h"
#include "coordinator/task_table.h"
#include "coordinator/uploads.h"
#include "coordinator/worker.h"
#include "core/ids.h"
#include "core/random.h"
#include "core/status.h"
#include "core/storage/state_mark.h"
#include "core/time.h"
#include "identity/identity.h"
#include "secagg/parameters.h"

namespace chorale::coordinator {

// How far a site's clock may be off before people are told.
inline constexpr Duration kTolerableSkew = std::chrono::minutes(1);

struct EngineLimits {
  std::uint32_t max_running_jobs = 4;
  std::uint32_t max_queued_jobs = 1000;
  std::uint64_t max_model_bytes = 64ull << 30;
  Duration heartbeat_interval = std::chrono::seconds(10);
  // Rounds that a session of secure aggregation has keys for.
  std::uint32_t rounds_of_session = secagg::kMaxRounds;
};

// What a coordinator tells sites of its state, so that they follow none that knows less than one
// before it.
struct StateIdentity {
  storage::StateMark mark = {};
  std::string instance = {};      // Of this process.
  std::uint64_t num_events = 0;   // In the store at the start.
  std::vector<Time> starts = {};  // Of coordinators with this store, oldest first, this included.
};

// Everything the engine uses and does not own; all must outlive it.
struct EngineParts {
  JobStore& store;
  PayloadStore& payloads;
  Members& members;
  TaskTable& tasks;
  Uploads& uploads;
  WorkQueue& work;
  const Clock& clock;
  RandomSource& random;  // For job ids.
  CoordinatorMetrics& metrics;
  const identity::Identity& identity;  // The coordinator's: it signs for sessions.
  EngineLimits limits;
  StateIdentity state = {};
};

// A verified submission.
struct Submission {
  ResearcherId researcher;
  std::string idempotency_key;
  v1::SignedJob envelope;
  v1::JobSpec spec;
};

// A job's news for somebody who knows its first `next_round` records.
struct JobUpdate {
  v1::JobSummary summary;
  std::vector<v1::RoundRecord> rounds;
  std::size_t next_round = 0;
  bool has_more = false;  // More rounds than one update takes: ask again.
  bool has_ended = false;
};

// A job and its present model, for whoever takes it away.
struct ModelSnapshot {
  JobEntry entry;  // Without watchers.
  crypto::BlobId id;
  PayloadReader reader;
};

// All jobs, sites and their machines, with the store, on one thread: it persists, then sends, then
// tells. Every command stages what it changes; Commit makes it durable in one transaction, carries
// out the actions and only then answers. Between a command and its Commit nobody else sees the
// change. Not thread-safe: Driver owns the thread.
class Engine {
 public:
  template <typename T>
  using Done = std::function<void(StatusOr<T>)>;
  using DoneStatus = std::function<void(Status)>;

  explicit Engine(const EngineParts& parts);

  // Replays every unfinished job and goes on where it stood. Call once, before anything else.
  [[nodiscard]] Status Recover();

  // ---- commands of researchers
  // ALREADY_EXISTS: same key, other body; RESOURCE_EXHAUSTED: queue full; INVALID_ARGUMENT: model
  // too large; FAILED_PRECONDITION: an initial model that the researcher has not uploaded.
  void Submit(Submission submission, Done<JobId> done);
  // NOT_FOUND; PERMISSION_DENIED: another's job; FAILED_PRECONDITION: ended.
  void Cancel(const JobId& id, const ResearcherId& by, Done<v1::JobSummary> done);

  // ---- commands of sites
  void SessionOpened(SessionId id, SiteSession session);
  void SessionGreeted(SessionId id, SiteGreeting greeting);
  void SessionClosed(SessionId id);
  // The site's ledger has grown.
  void LedgerTold(SessionId id, const LedgerReceipt& head);
  void TaskRefused(SessionId id, const TaskId& task, const Refusal& refusal);
  // What the site sent is not fit to be counted: the round goes on without it.
  void ReportRefused(const OpenTask& task, const Refusal& refusal);
  // Errors as Job::Step. The payload is kept when the report is.
  void Reported(const OpenTask& task, Report report, HeldPayload payload, DoneStatus done);

  // ---- from the worker
  void WorkIsDone(WorkDone done);

  // ---- questions, to be asked when nothing is staged: answers show what is committed
  [[nodiscard]] StatusOr<std::vector<v1::JobSummary>> List(std::uint32_t limit);
  // Without the first so many records.
  [[nodiscard]] StatusOr<v1::ShowJobResponse> Show(const JobId& id, std::uint32_t first_record = 0);
  // Without the first so many entries.
  [[nodiscard]] StatusOr<v1::ExplainJobResponse> Explain(const JobId& id,
                                                         std::uint64_t first_entry);
  [[nodiscard]] StatusOr<JobUpdate> UpdateSince(const JobId& id, std::size_t next_round);
  [[nodiscard]] StatusOr<ModelSnapshot> FindModel(const JobId& id);
  [[nodiscard]] std::vector<v1::SiteSummary> Sites() const;
  // Wakes the watcher after each change. NOT_FOUND; FAILED_PRECONDITION: the job has ended.
  [[nodiscard]] Status Watch(const JobId& id, std::shared_ptr<JobWatcher> watcher);
  void Unwatch(const JobId& id, const JobWatcher* watcher);

  // ---- time
  // How long until OnTimers is due; never negative.
  [[nodiscard]] Duration UntilNextTimer() const;
  // Deadlines, heartbeats, the roster.
  void OnTimers();

  // Makes what is staged durable, carries out the actions, answers. On error nothing of it holds,
  // everybody concerned has been told, and the jobs are again as the store has them; INTERNAL when
  // even that failed: stop.
  [[nodiscard]] Status Commit();
  // Tells every session and watcher that the coordinator stops.
  void Drain();

 private:
  using Jobs = std::map<JobId, std::unique_ptr<JobEntry>>;

  [[nodiscard]] Time Now() const { return parts_.clock.Now() + clock_offset_; }
  // Steps the job's machine and stages the event.
  [[nodiscard]] Status Step(JobEntry& entry, const JobEvent& event);
  void Stage(JobEntry& entry, const JobAction& action);
  void StageInterruption(JobEntry& entry, Duration by);
  void StageTimeouts(Time now);
  void StageCohorts(Time now);
  [[nodiscard]] bool StageCohort(JobEntry& entry, Time now);
  [[nodiscard]] std::vector<Candidate> CandidatesFor(const JobEntry& entry) const;
  void StageRosterVersion();
  void StageLastSeen(const SiteId& site);
  [[nodiscard]] Status CheckSubmission(const JobEntry& entry) const;
  // The upload that the specification names; null when it names none.
  [[nodiscard]] StatusOr<std::shared_ptr<const HeldPayload>> FindUpload(
      const ResearcherId& researcher, const v1::JobSpec& spec) const;
  [[nodiscard]] CohortRules CohortRulesOf(const JobEntry& entry) const;
  [[nodiscard]] JobId MakeJobId();

  // The event of a cohort under secure aggregation, and what it is told first: goes on with the
  // job's session where that is possible, and begins one otherwise.
  [[nodiscard]] StatusOr<CohortSelected> BeginMaskedRound(JobEntry& entry,
                                                          const std::vector<SiteId>& sites,
                                                          RoundKey key);
  // Opens a round of the session over these sites; returns what they are told.
  [[nodiscard]] static StatusOr<std::shared_ptr<const StepMessages>> OpenRound(
      const JobEntry& entry, Exchange& exchange, const std::vector<SiteId>& sites,
      RoundNumber number, Time wall_now);
  [[nodiscard]] StatusOr<crypto::BlobId> BeginSession(JobEntry& entry,
                                                      const std::vector<SiteId>& sites,
                                                      Time wall_now);
  // Keeps what the session is made of, in place of an earlier one's.
  void StageSession(const JobEntry& entry, const CohortSelected& event,
                    const std::optional<RoundKey>& earlier);
  // Makes the session of the round under way again, of what is stored.
  [[nodiscard]] Status RestoreSession(JobEntry& entry);
  [[nodiscard]] StatusOr<std::shared_ptr<Exchange>> BeginAgain(const JobEntry& entry,
                                                               const CohortSelected& event,
                                                               StepMessages& messages);
  // Closes a step again, as the event says that it was closed, with these answers.
  [[nodiscard]] StatusOr<std::shared_ptr<const StepMessages>> CloseAgain(
      const JobEntry& entry, std::shared_ptr<Exchange> exchange, const StepDone& event,
      const std::map<SiteId, Report>& answers);
  // That failed: the round begins again.
  void StageSessionLost(JobEntry& entry, const Status& why);
  [[nodiscard]] StatusOr<JobEvent> EventOf(JobEntry& entry, WorkProduct product,
                                           std::shared_ptr<const NextModel>& model);

  void CarryOut(JobEntry& entry, const JobAction& action);
  void Send(JobEntry& entry, const Dispatch& dispatch);
  void StartSumming(JobEntry& entry);
  // What makes a result of reports.
  using Sum = std::variant<ServerRuleWork, PreparationWork, NewtonWork, MetricsWork>;
  [[nodiscard]] Sum SummingWork(const JobEntry& entry,
                                std::vector<Contribution> contributions) const;
  // What ends a step of secure aggregation with these answers; the last one needs more.
  [[nodiscard]] static StatusOr<ExchangeWork> StepWorkOf(const JobEntry& entry,
                                                         std::shared_ptr<Exchange> exchange,
                                                         RoundKey key,
                                                         const std::map<SiteId, Report>& answers,
                                                         Time wall_now);
  [[nodiscard]] StatusOr<Work> StepWork(const JobEntry& entry, const Round& round) const;
  void StageModel(const JobId& id, std::uint32_t round, std::shared_ptr<const NextModel> model);
  void LogCommitted();
  void LogRound(const JobEntry& entry, const v1::RoundRecord& record);
  void Finish(const JobId& id);
  void UnloadModelsOfFinished();
  void ActivateQueued();
  // Carries out what the job's state asks for: after recovery and after a failed commit.
  void Resume(JobEntry& entry);
  [[nodiscard]] Status RollBack(const Status& why);
  void TellWatchers(const std::set<JobId>& changed);
  void UpdateGauges();

  // What a job that has not ended waits for just now, in words.
  [[nodiscard]] std::vector<std::string> WaitingFor(const JobEntry& entry) const;
  // RESOURCE_EXHAUSTED: what a round of so many sites may write does not fit on the disk.
  [[nodiscard]] Status CheckRoom(const JobEntry& entry, std::size_t num_sites) const;
  // What somebody should look at, in words.
  [[nodiscard]] std::vector<std::string> ProblemsOf(const SiteId& site) const;
  [[nodiscard]] v1::CoordinatorMessage HelloTo(const SiteId& site) const;
  void TakeReceipt(const SiteId& site, const LedgerReceipt& head);
  void SiteIsBack(const SiteId& site, const SiteGreeting& greeting);
  // A site that is away is told at its next hello.
  void TellEnded(const JobId& job, const SiteId& site);
  void SiteIsGone(const SiteId& site);
  void EndLostSessions();

  [[nodiscard]] JobEntry* Find(const JobId& id);
  // A running job, or a finished one from the store.
  [[nodiscard]] StatusOr<JobEntry> LoadFinished(const JobId& id);

  EngineParts parts_;
  Jobs jobs_;                 // Unfinished.
  std::vector<JobId> order_;  // Of submission; unfinished.
  SiteSessions sessions_;
  std::map<SiteId, StoredSite> seen_;
  std::map<SiteId, std::pair<Time, std::string>>
      refused_agents_;                       // The last of each: when and why.
  std::set<SiteId> rolled_back_;             // Whose ledger is behind its receipt.
  std::uint64_t num_events_ = 0;             // In the store.
  std::map<SiteId, std::string> instances_;  // Of the agents that were last connected.
  std::uint64_t stored_roster_version_ = 0;
  Duration
      clock_offset_{};  // Events never go back in time, whatever the clock did between two runs.
  Time next_heartbeat_{};
  std::optional<Time> retry_at_;  // After a failed commit.
  std::set<JobId> to_resume_;     // Jobs whose actions were lost with a failed commit.
  bool is_draining_ = false;
  std::vector<WorkDone> failed_work_;  // That could not be begun: told with the next timers.
  std::vector<crypto::BlobId>
      loaded_models_;           // Small models of finished jobs, until no other job needs them.
  bool sites_changed_ = false;  // Selecting jobs look again.

  // What the next Commit writes and does.
  Batch batch_;
  std::vector<std::pair<JobId, JobAction>> actions_;
  std::vector<std::pair<TaskId, Report>> reported_;
  std::vector<std::function<void(const Status&)>> answers_;
  std::set<JobId> changed_;
};

}  // namespace chorale::coordinator
