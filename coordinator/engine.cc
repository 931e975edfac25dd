#include "coordinator/engine.h"

#include <algorithm>
#include <utility>

#include "coordinator/job_event_codec.h"
#include "core/log.h"
#include "jobs/masking.h"

namespace chorale::coordinator {
namespace {

constexpr Duration kRetryAfterFailedCommit = std::chrono::seconds(1);

}  // namespace

Engine::Engine(const EngineParts& parts) : parts_(parts), num_events_(parts.state.num_events) {}

JobEntry* Engine::Find(const JobId& id) {
  const auto job = jobs_.find(id);
  return job == jobs_.end() ? nullptr : job->second.get();
}

// ---------------------------------------------------------------------------- recovery

Status Engine::Recover() {
  CHORALE_ASSIGN_OR_RETURN(std::vector<StoredJob> stored, parts_.store.LoadUnfinished());
  CHORALE_ASSIGN_OR_RETURN(seen_, parts_.store.LoadSites());
  CHORALE_ASSIGN_OR_RETURN(stored_roster_version_, parts_.store.RosterVersion());
  CHORALE_ASSIGN_OR_RETURN(const std::vector<crypto::BlobId> kept, parts_.store.ListBlobs());
  CHORALE_RETURN_IF_ERROR(parts_.payloads.Sweep(kept));
  for (const crypto::BlobId& id : kept) {
    if (!IsInline(id)) parts_.payloads.Keep(id, nullptr);  // Also of finished jobs.
  }
  CHORALE_ASSIGN_OR_RETURN(std::vector<KeptBlob> blobs, parts_.store.LoadBlobsOfUnfinished());
  for (KeptBlob& blob : blobs) parts_.payloads.Keep(blob.id, std::move(blob.bytes));

  std::optional<Time> last_stored;  // Somebody was there until then.
  for (StoredJob& job : stored) {
    if (!job.events.empty()) {
      CHORALE_ASSIGN_OR_RETURN(const TimedEvent last, Decode(job.events.back()));
      clock_offset_ = std::max(clock_offset_, last.time - parts_.clock.Now());
      last_stored = std::max(last_stored.value_or(last.time), last.time);
    }
    const JobId id = job.submission.id;
    CHORALE_ASSIGN_OR_RETURN(JobEntry entry, MakeEntry(std::move(job.submission), job.events));
    entry.is_active = !std::holds_alternative<Queued>(entry.machine.state());
    order_.push_back(id);
    jobs_.emplace(id, std::make_unique<JobEntry>(std::move(entry)));
    log::Info("job.recovered", {{"job", id.value()}, {"events", job.events.size()}});
  }
  next_heartbeat_ = Now() + parts_.limits.heartbeat_interval;
  for (const JobId& id : order_) {
    JobEntry& entry = *jobs_.at(id);
    if (!entry.is_active) continue;
    if (last_stored.has_value()) StageInterruption(entry, Now() - *last_stored);
    Resume(entry);
  }
  ActivateQueued();
  UpdateGauges();
  return OkStatus();
}

// A round is not late for a coordinator that was away, or whose clock somebody set.
void Engine::StageInterruption(JobEntry& entry, Duration by) {
  if (by <= Duration::zero() || !entry.machine.NextDeadline().has_value()) return;
  if (const Status stepped = Step(entry, Interrupted{by}); !stepped.ok()) {
    log::Error("job.interruption_not_taken",
               {{"job", entry.submission.id.value()}, {"why", MessageOf(stepped)}});
  }
}

void Engine::Resume(JobEntry& entry) {
  if (entry.machine.round() != nullptr && jobs::IsMasked(entry.spec) && entry.exchange == nullptr) {
    if (const Status restored = RestoreSession(entry); !restored.ok()) {
      return StageSessionLost(entry, restored);
    }
  }
  if (const Round* round = entry.machine.round();
      round != nullptr && std::holds_alternative<Collecting>(round->state())) {
    for (const auto& [site, status] : round->sites()) {
      parts_.tasks.Open(MakeOpenTask(entry, site));
      entry.asked.insert(site);
    }
  }
  for (const JobAction& action : entry.machine.OutstandingActions()) CarryOut(entry, action);
}

// ---------------------------------------------------------------------------- staging

Status Engine::Step(JobEntry& entry, const JobEvent& event) {
  const Time now = Now();
  CHORALE_ASSIGN_OR_RETURN(const std::vector<JobAction> actions, entry.machine.Step(event, now));
  const JobId& id = entry.submission.id;
  batch_.events.push_back({id, Encode(event, now)});
  changed_.insert(id);
  for (const JobAction& action : actions) {
    Stage(entry, action);
    actions_.emplace_back(id, action);
  }
  return OkStatus();
}

// What an action writes, beside what it does.
void Engine::Stage(JobEntry& entry, const JobAction& action) {
  const JobId& id = entry.submission.id;
  if (const auto* record = std::get_if<RecordRound>(&action)) {
    batch_.dropped.push_back({id, UpdatePrefix(record->round)});
  } else if (std::holds_alternative<Ended>(action)) {
    batch_.dropped.push_back({id, "update/"});
    batch_.dropped.push_back({id, "session/"});
    batch_.dropped.push_back({id, kUploadedName});
    for (std::uint32_t round = entry.machine.num_published(), i = 0; round > 0 && i < kModelsKept;
         --round, ++i) {
      batch_.dropped.push_back({id, ModelPrefix(round) + "state"});  // Of use to no later round.
    }
    batch_.ended.push_back({id, SummaryOf(entry)});
  }
}

void Engine::StageRosterVersion() {
  const std::uint64_t version = parts_.members.roster()->version();
  if (version != stored_roster_version_) batch_.roster_version = version;
}

// ---------------------------------------------------------------------------- commit

Status Engine::Commit() {
  const Time now = Now();
  if (!retry_at_.has_value() || now >= *retry_at_) {
    retry_at_.reset();
    StageTimeouts(now);
    StageCohorts(now);
    StageRosterVersion();
  }
  StatusOr<std::vector<crypto::BlobId>> released = parts_.store.Append(batch_);
  if (!released.ok()) return RollBack(released.status());
  num_events_ += batch_.events.size();

  for (const Batch::Blob& blob : batch_.kept) parts_.payloads.Keep(blob.id, blob.bytes);
  for (const crypto::BlobId& id : *released) parts_.payloads.Release(id);
  if (batch_.roster_version.has_value()) stored_roster_version_ = *batch_.roster_version;
  for (const auto& [id, report] : std::exchange(reported_, {})) {
    parts_.tasks.MarkReported(id, report);
  }
  LogCommitted();
  batch_ = {};
  const std::set<JobId> changed = std::exchange(changed_, {});
  for (const auto& [id, action] : std::exchange(actions_, {})) {
    if (JobEntry* entry = Find(id)) CarryOut(*entry, action);
  }
  for (const auto& answer : std::exchange(answers_, {})) answer(OkStatus());
  TellWatchers(changed);
  if (!retry_at_.has_value()) {
    for (const JobId& id : std::exchange(to_resume_, {})) {
      if (JobEntry* entry = Find(id)) Resume(*entry);
    }
  }
  ActivateQueued();
  if (!changed.empty()) UpdateGauges();
  return OkStatus();
}

// What the batch began; ends are told with their actions.
void Engine::LogCommitted() {
  for (const StoredSubmission& submission : batch_.submissions) {
    log::Info("job.submitted", {{"job", submission.id.value()},
                                {"name", Find(submission.id)->spec.name()},
                                {"researcher", submission.researcher.value()}});
  }
  for (const Batch::Event& event : batch_.events) {
    const JobEntry* entry = Find(event.job);
    if (!event.event.has_cohort_selected() || entry == nullptr) continue;
    const Round* round = entry->machine.round();
    if (round == nullptr) continue;  // Over within the same batch.
    log::Info("round.started", {{"job", event.job.value()},
                                {"round", round->key().number.value()},
                                {"attempt", round->key().attempt},
                                {"sites", event.event.cohort_selected().sites_size()}});
  }
}

Status Engine::RollBack(const Status& why) {
  log::Error("store.failed", {{"why", MessageOf(why)}});
  std::set<JobId> changed = std::exchange(changed_, {});
  for (const StoredSubmission& submission : batch_.submissions) {
    jobs_.erase(submission.id);
    std::erase(order_, submission.id);
    changed.erase(submission.id);
  }
  batch_ = {};
  for (const auto& [id, action] : std::exchange(actions_, {})) to_resume_.insert(id);
  reported_.clear();
  retry_at_ = Now() + kRetryAfterFailedCommit;
  Status outcome = why;
  for (const JobId& id : changed) {
    JobEntry* entry = Find(id);
    if (entry == nullptr) continue;
    StatusOr<StoredJob> stored = parts_.store.LoadJob(id);
    StatusOr<Job> machine =
        stored.ok() ? Replay(RulesOf(entry->spec), stored->events) : StatusOr<Job>(stored.status());
    if (!machine.ok()) {
      outcome =
          Internal("job " + id.value() + " cannot be read back: " + MessageOf(machine.status()));
      continue;
    }
    entry->machine = *std::move(machine);
    // What the session has done since the last commit, the job has not. Who asks for its messages
    // before it is made again is told to come back.
    if (const Round* round = entry->machine.round();
        round != nullptr && entry->exchange != nullptr) {
      parts_.tasks.Suspend(id, round->key());
    }
    entry->exchange = nullptr;
    entry->messages = nullptr;
    to_resume_.insert(id);
  }
  const Status told = Unavailable("the coordinator could not store this: " + MessageOf(why));
  for (const auto& answer : std::exchange(answers_, {})) answer(told);
  return outcome;
}

void Engine::TellWatchers(const std::set<JobId>& changed) {
  for (const JobId& id : changed) {
    if (JobEntry* entry = Find(id)) {
      for (const auto& watcher : entry->watchers) watcher->Wake();
      if (entry->machine.has_ended()) Finish(id);
    }
  }
}

void Engine::Finish(const JobId& id) {
  const std::optional<crypto::BlobId>& model = jobs_.at(id)->machine.model();
  if (model.has_value() && IsInline(*model)) loaded_models_.push_back(*model);
  jobs_.erase(id);
  std::erase(order_, id);
  UnloadModelsOfFinished();
}

// Equal content is one payload: a model may be an update or the model of another job too.
void Engine::UnloadModelsOfFinished() {
  const auto is_needed = [&](const crypto::BlobId& id) {
    return std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& job) {
      const Job& machine = job.second->machine;
      if (machine.model() == id || machine.server_state() == id) return true;
      if (machine.round() == nullptr) return false;
      const auto reports = machine.round()->Contributors();
      return std::any_of(reports.begin(), reports.end(),
                         [&](const auto& report) { return report.second.payload == id; });
    });
  };
  std::erase_if(loaded_models_, [&](const crypto::BlobId& id) {
    if (is_needed(id)) return false;
    parts_.payloads.Unload(id);
    return true;
  });
}

void Engine::ActivateQueued() {
  auto num_active = static_cast<std::uint32_t>(std::count_if(
      jobs_.begin(), jobs_.end(), [](const auto& job) { return job.second->is_active; }));
  for (const JobId& id : order_) {
    if (num_active >= parts_.limits.max_running_jobs) return;
    JobEntry& entry = *jobs_.at(id);
    if (entry.is_active) continue;
    entry.is_active = true;
    ++num_active;
    log::Info("job.started", {{"job", id.value()}});
    for (const auto& watcher : entry.watchers) watcher->Wake();
    Resume(entry);
  }
}

void Engine::UpdateGauges() {
  const auto num_active = std::count_if(jobs_.begin(), jobs_.end(),
                                        [](const auto& job) { return job.second->is_active; });
  parts_.metrics.running_jobs.Set(static_cast<double>(num_active));
  parts_.metrics.queued_jobs.Set(
      static_cast<double>(jobs_.size() - static_cast<std::size_t>(num_active)));
  parts_.metrics.connected_sites.Set(static_cast<double>(sessions_.num_connected()));
}

// ---------------------------------------------------------------------------- time

Duration Engine::UntilNextTimer() const {
  if (!failed_work_.empty() || !batch_.events.empty()) return Duration::zero();
  Time next = next_heartbeat_;
  if (retry_at_.has_value()) {
    next = std::min(next, *retry_at_);
  } else {
    for (const auto& [id, entry] : jobs_) {
      const auto* selecting = std::get_if<Selecting>(&entry->machine.state());
      if (selecting != nullptr && selecting->not_before > Now()) {
        next = std::min(next, selecting->not_before);
      } else if (const auto deadline = entry->machine.NextDeadline()) {
        next = std::min(next, *deadline);
      }
    }
  }
  return std::max(Duration::zero(), next - Now());
}

void Engine::OnTimers() {
  for (WorkDone& failed : std::exchange(failed_work_, {})) WorkIsDone(std::move(failed));
  const Time now = Now();
  if (now >= next_heartbeat_) {
    next_heartbeat_ = now + parts_.limits.heartbeat_interval;
    parts_.members.Refresh();
    parts_.uploads.Expire(parts_.clock.Now());  // Without the offset, as they came.
    EndLostSessions();
    sites_changed_ = true;  // The roster may have changed.
  }
}

void Engine::StageTimeouts(Time now) {
  for (const auto& [id, entry] : jobs_) {
    const auto deadline = entry->machine.NextDeadline();
    if (entry->machine.round() == nullptr || !deadline.has_value() || now < *deadline) continue;
    if (const Status stepped = Step(*entry, DeadlinePassed{}); !stepped.ok()) {
      log::Error("job.deadline_not_taken", {{"job", id.value()}, {"why", MessageOf(stepped)}});
    }
  }
}

void Engine::Drain() {
  is_draining_ = true;
  const Status why = Unavailable("the coordinator is stopping: connect again later");
  v1::CoordinatorMessage message;
  message.mutable_draining();
  std::vector<SessionId> ids;
  for (const auto& [id, session] : sessions_.all()) ids.push_back(id);
  for (const SessionId& id : ids) {
    if (const SiteSession* session = sessions_.Find(id); session->greeting.has_value()) {
      session->channel->Send(message);
    }
    (void)sessions_.End(id, why);
  }
  for (const auto& [id, entry] : jobs_) {
    for (const auto& watcher : entry->watchers) watcher->Close(why);
    entry->watchers.clear();
  }
}

}  // namespace chorale::coordinator
