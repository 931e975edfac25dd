#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "coordinator/engine.h"
#include "coordinator/time_codec.h"
#include "core/bytes.h"
#include "core/log.h"
#include "data/dataset.h"
#include "jobs/job_spec.h"

// The engine's jobs: submission, cohorts, and what actions do.
namespace chorale::coordinator {
namespace {

constexpr std::size_t kJobIdBytes = 8;
constexpr std::uint32_t kModelsKept = 2;  // The present one and the one before.

bool SameBody(const v1::SignedJob& a, const v1::SignedJob& b) {
  return a.spec() == b.spec() && a.certificate() == b.certificate() &&
         a.signature() == b.signature();
}

std::vector<Contribution> ContributionsOf(const Round& round) {
  std::vector<Contribution> contributions;
  for (const auto& [site, report] : round.Contributors()) {
    contributions.push_back({site, report.payload, report.num_examples});
  }
  return contributions;
}

double SecondsOf(const v1::RoundRecord& record) {
  return static_cast<double>(record.ended_at().seconds() - record.started_at().seconds()) +
         1e-9 * (record.ended_at().nanos() - record.started_at().nanos());
}

const char* EndName(const JobMachineState& state) {
  if (std::holds_alternative<Completed>(state)) return "completed";
  return std::holds_alternative<Failed>(state) ? "failed" : "cancelled";
}

}  // namespace

// ---------------------------------------------------------------------------- commands

JobId Engine::MakeJobId() {
  std::array<std::uint8_t, kJobIdBytes> bytes;
  parts_.random.Fill(bytes);
  return JobId("j" + ToHex(bytes));
}

Status Engine::CheckSubmission(const Submission& submission, const ParameterLayout& layout) const {
  if (layout.size_bytes() > parts_.limits.max_model_bytes) {
    return InvalidArgument("the model has " + std::to_string(layout.size_bytes()) +
                           " bytes; this coordinator takes at most " +
                           std::to_string(parts_.limits.max_model_bytes) + " (max_model_bytes)");
  }
  std::size_t num_queued = 0;
  for (const auto& [id, entry] : jobs_) num_queued += entry->is_active ? 0 : 1;
  if (num_queued < parts_.limits.max_queued_jobs) return OkStatus();
  return ResourceExhausted("the queue is full: " + std::to_string(num_queued) +
                           " jobs wait; submit " + submission.spec.name() + " again later");
}

void Engine::Submit(Submission submission, Done<JobId> done) {
  const auto answer = [&](const StoredSubmission& held) {
    StatusOr<JobId> result = held.id;
    if (!SameBody(held.envelope, submission.envelope)) {
      result =
          AlreadyExists("another job was submitted under this idempotency key: " + held.id.value());
    }
    answers_.emplace_back([done, result](const Status& committed) {
      done(committed.ok() ? result : StatusOr<JobId>(committed));
    });
  };
  for (const StoredSubmission& staged : batch_.submissions) {
    if (staged.researcher == submission.researcher &&
        staged.idempotency_key == submission.idempotency_key) {
      return answer(staged);
    }
  }
  const StatusOr<StoredSubmission> held =
      parts_.store.FindSubmission(submission.researcher, submission.idempotency_key);
  if (held.ok()) return answer(*held);
  if (held.status().code() != StatusCode::kNotFound) return done(held.status());

  const StatusOr<ParameterLayout> layout = jobs::LayoutOf(submission.spec);
  if (!layout.ok()) return done(layout.status());
  if (const Status fit = CheckSubmission(submission, *layout); !fit.ok()) return done(fit);
  StoredSubmission stored{.id = MakeJobId(),
                          .researcher = std::move(submission.researcher),
                          .idempotency_key = std::move(submission.idempotency_key),
                          .envelope = std::move(submission.envelope),
                          .submitted_at = Now()};
  StatusOr<JobEntry> entry = MakeEntry(stored, {});
  if (!entry.ok()) return done(entry.status());
  const JobId id = stored.id;
  batch_.submissions.push_back(std::move(stored));
  order_.push_back(id);
  jobs_.emplace(id, std::make_unique<JobEntry>(*std::move(entry)));
  changed_.insert(id);
  answers_.emplace_back([done, id](const Status& committed) {
    done(committed.ok() ? StatusOr<JobId>(id) : StatusOr<JobId>(committed));
  });
}

void Engine::Cancel(const JobId& id, const ResearcherId& by, Done<v1::JobSummary> done) {
  JobEntry* entry = Find(id);
  if (entry == nullptr) {
    const StatusOr<StoredJob> stored = parts_.store.LoadJob(id);
    return done(stored.ok() ? FailedPrecondition("job " + id.value() + " has ended")
                            : stored.status());
  }
  if (entry->submission.researcher != by) {
    return done(PermissionDenied("job " + id.value() + " is another researcher's"));
  }
  if (const Status stepped = Step(*entry, CancelRequested{by}); !stepped.ok()) {
    return done(stepped);
  }
  answers_.emplace_back([done, summary = SummaryOf(*entry)](const Status& committed) {
    done(committed.ok() ? StatusOr<v1::JobSummary>(summary) : StatusOr<v1::JobSummary>(committed));
  });
}

void Engine::WorkIsDone(WorkDone done) {
  JobEntry* entry = Find(done.job);
  if (entry == nullptr) return;  // Cancelled meanwhile; a held payload goes with `done`.
  entry->has_work = false;
  if (done.product.status().code() == StatusCode::kCancelled) return;
  const Round* round = entry->machine.round();
  const std::uint32_t number = round == nullptr ? 0 : round->key().number.value();

  JobEvent event;
  std::shared_ptr<HeldPayload>
      model;  // Shared with the answer that lets it go once the commit is through.
  if (!done.product.ok()) {
    const std::string why = MessageOf(done.product.status());
    event = round == nullptr ? JobEvent(StartFailed{why}) : JobEvent(AggregationFailed{why});
  } else if (auto* moments = std::get_if<Moments>(&*done.product)) {
    event = RoundAggregated{std::move(*moments)};
  } else {
    model = std::make_shared<HeldPayload>(std::get<HeldPayload>(*std::move(done.product)));
    event = round == nullptr ? JobEvent(JobStarted{model->id()})
                             : JobEvent(RoundAggregated{model->id()});
  }
  if (const Status stepped = Step(*entry, event); !stepped.ok()) {
    log::Error("job.result_not_taken", {{"job", done.job.value()}, {"why", MessageOf(stepped)}});
    return;
  }
  if (model == nullptr) return;
  batch_.kept.push_back({done.job, ModelPrefix(number) + "global", model->id(), model->bytes()});
  if (number >= kModelsKept) {
    batch_.dropped.push_back({done.job, ModelPrefix(number - kModelsKept)});
  }
  answers_.emplace_back([model](const Status&) {});
}

// ---------------------------------------------------------------------------- cohorts

void Engine::StageCohorts(Time now) {
  const bool look_again = std::exchange(sites_changed_, false);
  for (const auto& [id, entry] : jobs_) {
    // A round that nobody can be asked in is abandoned at once, and the next one begins to look.
    while (const auto* selecting = std::get_if<Selecting>(&entry->machine.state())) {
      const bool is_new = changed_.contains(id) || entry->wait_reason.empty();
      if (!look_again && !is_new && now < selecting->deadline) break;
      if (!StageCohort(*entry, now)) break;
    }
  }
}

// True when the job's machine took a step.
bool Engine::StageCohort(JobEntry& entry, Time now) {
  const auto& selecting = std::get<Selecting>(entry.machine.state());
  const std::vector<Candidate> candidates = CandidatesFor(entry);
  const Selection selection = SelectCohort(candidates,
                                           {.min_reports = entry.spec.rounds().min_reports(),
                                            .cohort_size = entry.spec.rounds().cohort_size(),
                                            .job_seed = entry.spec.seed()},
                                           selecting.round);
  std::optional<JobEvent> event;
  if (const auto* cohort = std::get_if<Cohort>(&selection)) {
    event = CohortSelected{cohort->sites};
    entry.wait_reason.clear();
  } else if (const auto* never = std::get_if<NeverEnoughSites>(&selection)) {
    event = QuorumImpossible{never->reason};
  } else {
    const std::string& reason = std::get<TooFewSites>(selection).reason;
    if (entry.wait_reason != reason) changed_.insert(entry.submission.id);
    entry.wait_reason = reason;
    if (now < selecting.deadline) return false;
    event = NoCohort{reason};
  }
  const Status stepped = Step(entry, *event);
  if (stepped.ok()) return true;
  log::Error("job.cohort_not_taken",
             {{"job", entry.submission.id.value()}, {"why", MessageOf(stepped)}});
  return false;
}

std::vector<Candidate> Engine::CandidatesFor(const JobEntry& entry) const {
  std::vector<Candidate> candidates;
  const std::shared_ptr<const identity::Roster> roster = parts_.members.roster();
  for (const auto& [site, member] : roster->sites()) {
    Candidate& candidate = candidates.emplace_back();
    candidate.site = site;
    candidate.is_in_good_standing = !member.has_revoked_at();
    if (const SiteSession* session = sessions_.FindSite(site)) {
      const std::vector<std::string>& offered = session->greeting->datasets;
      candidate.is_connected = true;
      candidate.offers_dataset =
          std::find(offered.begin(), offered.end(), entry.spec.dataset()) != offered.end();
    }
    if (const auto refusal = entry.machine.refusals().find(site);
        refusal != entry.machine.refusals().end()) {
      candidate.has_refused = true;
      candidate.refusal_code = refusal->second.code;
    }
  }
  return candidates;
}

// ---------------------------------------------------------------------------- actions

void Engine::CarryOut(JobEntry& entry, const JobAction& action) {
  const JobId& id = entry.submission.id;
  if (std::holds_alternative<MakeInitialModel>(action)) {
    if (!entry.is_active || std::exchange(entry.has_work, true)) return;
    parts_.work.Start({id, MakeModelWork{entry.spec.model(), data::NumInputs(entry.spec.data()),
                                         entry.spec.seed()}});
  } else if (std::holds_alternative<FindCohort>(action)) {
    sites_changed_ = true;
  } else if (const auto* dispatch = std::get_if<Dispatch>(&action)) {
    Send(entry, *dispatch);
  } else if (std::holds_alternative<Aggregate>(action)) {
    StartSumming(entry);
  } else if (const auto* cancel = std::get_if<CancelTasks>(&action)) {
    for (const SiteId& site : cancel->sites) {
      const SiteSession* session = sessions_.FindSite(site);
      if (session == nullptr) continue;
      v1::CoordinatorMessage message;
      message.mutable_cancelled()->set_task_id(TaskIdOf(id, cancel->round, site).value());
      message.mutable_cancelled()->set_reason(cancel->reason);
      session->channel->Send(std::move(message));
    }
  } else if (const auto* close = std::get_if<CloseTasks>(&action)) {
    parts_.tasks.Close(id, close->round);
  } else if (const auto* record = std::get_if<RecordRound>(&action)) {
    LogRound(entry, entry.machine.rounds()[record->index]);
  } else if (std::holds_alternative<Ended>(action)) {
    log::Info("job.ended", {{"job", id.value()},
                            {"state", EndName(entry.machine.state())},
                            {"rounds", entry.machine.num_published()},
                            {"reason", SummaryOf(entry).reason()}});
  }
}

void Engine::Send(JobEntry& entry, const Dispatch& dispatch) {
  const Round* round = entry.machine.round();
  const bool is_current = round != nullptr && round->key() == dispatch.round &&
                          std::holds_alternative<Collecting>(round->state());
  if (!is_current) return;
  parts_.tasks.Open(MakeOpenTask(entry, dispatch.site));
  const SiteSession* session = sessions_.FindSite(dispatch.site);
  if (session == nullptr) return;  // Sent when it connects.
  v1::CoordinatorMessage message;
  *message.mutable_task() = MakeTask(entry, dispatch);
  session->channel->Send(std::move(message));
}

void Engine::StartSumming(JobEntry& entry) {
  const Round* round = entry.machine.round();
  if (round == nullptr || std::exchange(entry.has_work, true)) return;
  Work work{.job = entry.submission.id, .task = MomentsWork{ContributionsOf(*round)}};
  if (round->key().number.value() != 0) {
    work.task = AverageWork{{.model = *entry.machine.model(),
                             .contributions = ContributionsOf(*round),
                             .weighting = entry.spec.aggregation().fedavg().weighting()}};
  }
  parts_.work.Start(std::move(work));
}

void Engine::LogRound(const JobEntry& entry, const v1::RoundRecord& record) {
  const double seconds = SecondsOf(record);
  if (record.published()) {
    parts_.metrics.rounds_published.Increment();
    parts_.metrics.round_seconds.Observe(seconds);
    log::Info("round.published", {{"job", entry.submission.id.value()},
                                  {"round", record.round()},
                                  {"sites", record.sites_size()},
                                  {"examples", record.num_examples()},
                                  {"ms", 1e3 * seconds}});
  } else {
    parts_.metrics.rounds_abandoned.Increment();
    log::Warning("round.abandoned", {{"job", entry.submission.id.value()},
                                     {"round", record.round()},
                                     {"reason", record.reason()}});
  }
}

}  // namespace chorale::coordinator
