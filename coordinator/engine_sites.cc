#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>
#include <variant>

#include "coordinator/agent_lease.h"
#include "coordinator/engine.h"
#include "coordinator/time_codec.h"
#include "core/log.h"
#include "core/version.h"

// The engine's sites: sessions, reports, refusals.
namespace chorale::coordinator {
namespace {

constexpr int kMissedHeartbeats = 3;
constexpr std::ptrdiff_t kMaxSilentSessions = 4;  // Of one site, before their hello.
// How a site says that it has no secrets of the session: it started again (docs/reason_codes.md).
constexpr std::string_view kSessionLostCode = "SESSION_LOST";

}  // namespace

// ---------------------------------------------------------------------------- sessions

void Engine::SessionOpened(SessionId id, SiteSession session) {
  if (is_draining_) {
    return session.channel->Close(Unavailable("the coordinator is stopping: connect again later"));
  }
  const auto num_silent =
      std::count_if(sessions_.all().begin(), sessions_.all().end(), [&](const auto& other) {
        return other.second.site == session.site && !other.second.greeting.has_value();
      });
  if (num_silent >= kMaxSilentSessions) {
    return session.channel->Close(ResourceExhausted("too many sessions without a hello"));
  }
  sessions_.Open(id, std::move(session));
}

void Engine::SessionGreeted(SessionId id, SiteGreeting greeting) {
  const SiteSession* session = sessions_.Find(id);
  if (session == nullptr) return;  // Ended before its hello was read.
  if (session->greeting.has_value()) {
    const SiteId site = session->site;
    if (sessions_.End(id, InvalidArgument("a session has one hello, the first message"))) {
      SiteIsGone(site);
    }
    return;
  }
  const SiteId site = session->site;
  const SiteSession* present = sessions_.FindSite(site);
  const Status lease =
      CheckLease(site, seen_[site], present == nullptr ? nullptr : &*present->greeting, greeting);
  if (!lease.ok()) {
    log::Warning("site.refused", {{"site", site.value()}, {"why", MessageOf(lease)}});
    refused_agents_[site] = {parts_.clock.WallNow(), MessageOf(lease)};
    (void)sessions_.End(id, lease);
    return;
  }
  const SiteGreeting hello = greeting;
  sessions_.Greet(id, std::move(greeting));
  const SiteSession& current = *sessions_.FindSite(site);
  current.channel->Send(HelloTo(site));

  log::Info("site.connected", {{"site", site.value()}, {"agent_version", hello.agent_version}});
  SiteIsBack(site, hello);
}

v1::CoordinatorMessage Engine::HelloTo(const SiteId& site) const {
  v1::CoordinatorMessage message;
  v1::CoordinatorHello& hello = *message.mutable_hello();
  hello.set_coordinator_version(Version());
  *hello.mutable_heartbeat_interval() = ToProto(parts_.limits.heartbeat_interval);
  *hello.mutable_clock() = ToProto(Now());  // The time that deadlines are told in.
  const StateIdentity& state = parts_.state;
  if (!state.mark.lineage.empty()) {
    hello.mutable_state()->set_lineage(state.mark.lineage);
    hello.mutable_state()->set_epoch(state.mark.epoch);
    hello.set_instance(state.instance);
    hello.set_state_version(num_events_);
    hello.set_accepts_loss(state.mark.accepts_loss);
  }
  if (const auto seen = seen_.find(site); seen != seen_.end() && seen->second.receipt.has_value()) {
    const LedgerReceipt& receipt = *seen->second.receipt;
    hello.mutable_ledger_receipt()->set_seq(receipt.seq);
    hello.mutable_ledger_receipt()->set_digest(receipt.digest.data(), receipt.digest.size());
  }
  return message;
}

void Engine::LedgerTold(SessionId id, const LedgerReceipt& head) {
  const SiteSession* session = sessions_.Find(id);
  if (session == nullptr) return;
  TakeReceipt(session->site, head);
}

void Engine::TakeReceipt(const SiteId& site, const LedgerReceipt& head) {
  std::optional<LedgerReceipt>& receipt = seen_[site].receipt;
  const bool is_behind = receipt.has_value() && head.seq <= receipt->seq && head != *receipt;
  if (is_behind && rolled_back_.insert(site).second) {
    log::Warning("site.ledger_rolled_back",
                 {{"site", site.value()}, {"row", head.seq}, {"receipt", receipt->seq}});
  }
  if (is_behind) return;
  rolled_back_.erase(site);
  if (receipt == head) return;
  receipt = head;
  StageLastSeen(site);
}

void Engine::SessionClosed(SessionId id) {
  if (const std::optional<SiteId> site = sessions_.Close(id)) SiteIsGone(*site);
}

void Engine::SiteIsBack(const SiteId& site, const SiteGreeting& greeting) {
  StoredSite& seen = seen_[site];
  seen.last_seen = parts_.clock.WallNow();
  seen.agent_version = greeting.agent_version;
  seen.datasets = greeting.datasets;
  seen.lineage = greeting.lineage;
  seen.epoch = greeting.epoch;
  seen.instance = greeting.instance;
  seen.clock_skew.reset();
  if (greeting.clock.has_value()) {
    seen.clock_skew = *greeting.clock - parts_.clock.WallNow();
    if (std::chrono::abs(*seen.clock_skew) > kTolerableSkew) {
      log::Warning("site.clock_differs",
                   {{"site", site.value()}, {"by", FormatDuration(*seen.clock_skew)}});
    }
  }
  if (greeting.ledger.has_value()) TakeReceipt(site, *greeting.ledger);
  if (!greeting.ledger.has_value() && seen.receipt.has_value()) rolled_back_.insert(site);
  StageLastSeen(site);
  sites_changed_ = true;
  if (std::exchange(instances_[site], greeting.instance) != greeting.instance) {
    for (const auto& [id, entry] : jobs_) entry->without_secrets.insert(site);
  }
  std::set<TaskId> open;
  for (const auto& [id, entry] : jobs_) {
    const Round* round = entry->machine.round();
    if (round == nullptr || !std::holds_alternative<Collecting>(round->state())) continue;
    const auto status = round->sites().find(site);
    if (status == round->sites().end()) continue;
    open.insert(TaskIdOf(id, round->key(), site));
    if (std::holds_alternative<Dropped>(status->second)) {
      if (const Status stepped = Step(*entry, SiteReturned{site}); !stepped.ok()) {
        log::Debug("site.return_not_taken", {{"site", site.value()}, {"why", MessageOf(stepped)}});
      }
    } else if (std::holds_alternative<Pending>(status->second)) {
      // Asked before; the site knows the task by its id.
      actions_.emplace_back(id, Dispatch{round->key(), site, round->report_deadline()});
    }
  }
  for (const TaskId& task : greeting.active_tasks) {
    if (open.contains(task)) continue;
    v1::CoordinatorMessage message;
    message.mutable_cancelled()->set_task_id(task.value());
    message.mutable_cancelled()->set_reason("the task's round is closed");
    sessions_.FindSite(site)->channel->Send(std::move(message));
  }
  for (const JobId& job : greeting.open_jobs) {
    if (Find(job) != nullptr) continue;  // Told once its end is durable.
    const StatusOr<bool> has_ended = parts_.store.HasEnded(job);
    if (has_ended.ok() && *has_ended) TellEnded(job, site);
  }
}

void Engine::TellEnded(const JobId& job, const SiteId& site) {
  const SiteSession* session = sessions_.FindSite(site);
  if (session == nullptr) return;  // Told when it is back.
  v1::CoordinatorMessage message;
  message.mutable_job_ended()->set_job_id(job.value());
  session->channel->Send(std::move(message));
}

void Engine::SiteIsGone(const SiteId& site) {
  log::Info("site.disconnected", {{"site", site.value()}});
  seen_[site].last_seen = parts_.clock.WallNow();
  StageLastSeen(site);
  sites_changed_ = true;
  for (const auto& [id, entry] : jobs_) {
    const Round* round = entry->machine.round();
    if (round == nullptr || !std::holds_alternative<Collecting>(round->state())) continue;
    const auto status = round->sites().find(site);
    if (status == round->sites().end() || !std::holds_alternative<Pending>(status->second)) {
      continue;
    }
    if (const Status stepped = Step(*entry, SiteDropped{site}); !stepped.ok()) {
      log::Error("site.drop_not_taken", {{"site", site.value()}, {"why", MessageOf(stepped)}});
    }
  }
}

void Engine::StageLastSeen(const SiteId& site) {
  batch_.sites[site] = seen_[site];
  parts_.metrics.connected_sites.Set(static_cast<double>(sessions_.num_connected()));
}

// Ends sessions whose site is silent or no member any more.
void Engine::EndLostSessions() {
  sessions_.KillEnding();
  const Time now = parts_.clock.Now();
  const Duration patience = kMissedHeartbeats * parts_.limits.heartbeat_interval;
  parts_.tasks.CancelSilent(now - patience);
  std::vector<std::pair<SessionId, Status>> lost;
  for (const auto& [id, session] : sessions_.all()) {
    const auto party = parts_.members.Authenticate(*session.certificate, parts_.clock.WallNow());
    if (!party.ok()) {
      lost.emplace_back(id, party.status());
    } else if (now - session.channel->last_heard() > patience) {
      lost.emplace_back(id, DeadlineExceeded("nothing was heard from site " + session.site.value() +
                                             " for " + FormatDuration(patience)));
    }
  }
  for (const auto& [id, why] : lost) {
    log::Warning("site.session_ended",
                 {{"site", sessions_.Find(id)->site.value()}, {"why", MessageOf(why)}});
    if (const std::optional<SiteId> site = sessions_.End(id, why)) SiteIsGone(*site);
  }
}

// ---------------------------------------------------------------------------- tasks

void Engine::TaskRefused(SessionId id, const TaskId& task, const Refusal& refusal) {
  const SiteSession* session = sessions_.Find(id);
  if (session == nullptr) return;
  const SiteId& site = session->site;
  const StatusOr<OpenTask> open = parts_.tasks.Find(task, site);
  if (open.ok()) ReportRefused(*open, refusal);  // Else its round is closed: nothing to decide.
}

void Engine::ReportRefused(const OpenTask& task, const Refusal& refusal) {
  JobEntry* entry = Find(task.job);
  if (entry == nullptr) return;
  if (refusal.code == kSessionLostCode) entry->without_secrets.insert(task.site);
  const Status stepped = Step(*entry, SiteRefused{task.round, task.site, refusal});
  if (!stepped.ok()) return;  // Answered already, or its round is closed.
  log::Warning("task.refused",
               {{"job", task.job.value()}, {"site", task.site.value()}, {"code", refusal.code}});
}

void Engine::Reported(const OpenTask& task, Report report, HeldPayload payload, DoneStatus done) {
  JobEntry* entry = Find(task.job);
  Status stepped = entry == nullptr ? FailedPrecondition("the task is not open: its job has ended")
                                    : Step(*entry, SiteReported{task.round, task.site, report});
  // Answered when the batch is durable: an ALREADY_EXISTS may speak of a report of this very batch.
  // The payload is held until then; shared_ptr, since a std::function must be copyable.
  auto held = std::make_shared<HeldPayload>(std::move(payload));
  if (stepped.ok()) {
    batch_.kept.push_back(
        {task.job, UpdateName(task.round, task.site), report.payload, held->bytes()});
    reported_.emplace_back(task.id, std::move(report));
  }
  answers_.emplace_back([done = std::move(done), stepped, held](const Status& committed) {
    done(committed.ok() ? stepped : committed);
  });
}

}  // namespace chorale::coordinator
