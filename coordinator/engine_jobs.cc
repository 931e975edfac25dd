#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>

#include "coordinator/engine.h"
#include "coordinator/round_record.h"
#include "coordinator/time_codec.h"
#include "core/bytes.h"
#include "core/log.h"
#include "core/rpc/chunks.h"
#include "data/data_spec.h"
#include "jobs/job_spec.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"

// The engine's jobs: submission, cohorts, and what actions do.
namespace chorale::coordinator {
namespace {

constexpr std::size_t kJobIdBytes = 8;
constexpr std::uint64_t kRoomForEvents = 16ull << 20;  // Of a round, and small payloads.

bool SameBody(const v1::SignedJob& a, const v1::SignedJob& b) {
  return a.spec() == b.spec() && a.certificate() == b.certificate() &&
         a.signature() == b.signature();
}

std::optional<crypto::BlobId> StateOf(const NextModel& model) {
  if (!model.server_state.has_value()) return std::nullopt;
  return model.server_state->id();
}

void LogBlamed(const JobEntry& entry, const Blamed& blamed) {
  for (const auto& [site, why] : blamed) {
    log::Warning("secagg.site_at_fault",
                 {{"job", entry.submission.id.value()}, {"site", site.value()}, {"why", why}});
  }
}

// Whose turn was last under cyclic training.
std::optional<SiteId> LastAsked(const std::vector<v1::RoundRecord>& records) {
  for (auto record = records.rbegin(); record != records.rend(); ++record) {
    if (record->phase() == NameOf(Phase::kTraining) && record->sites_size() > 0) {
      return SiteId(record->sites(0).site());
    }
  }
  return std::nullopt;
}

}  // namespace

// ---------------------------------------------------------------------------- commands

JobId Engine::MakeJobId() {
  std::array<std::uint8_t, kJobIdBytes> bytes;
  parts_.random.Fill(bytes);
  return JobId("j" + ToHex(bytes));
}

Status Engine::CheckSubmission(const JobEntry& entry) const {
  if (ModelBytes(entry) > parts_.limits.max_model_bytes) {
    return InvalidArgument("the model has " + std::to_string(ModelBytes(entry)) +
                           " bytes; this coordinator takes at most " +
                           std::to_string(parts_.limits.max_model_bytes) + " (max_model_bytes)");
  }
  std::size_t num_queued = 0;
  for (const auto& [id, other] : jobs_) num_queued += other->is_active ? 0 : 1;
  if (num_queued < parts_.limits.max_queued_jobs) return OkStatus();
  return ResourceExhausted("the queue is full: " + std::to_string(num_queued) +
                           " jobs wait; submit " + entry.spec.name() + " again later");
}

StatusOr<std::shared_ptr<const HeldPayload>> Engine::FindUpload(const ResearcherId& researcher,
                                                                const v1::JobSpec& spec) const {
  if (!spec.has_initial_model()) return nullptr;
  if (!spec.initial_model().has_weights()) {
    return InvalidArgument("initial_model.weights is required: `chorale job submit` fills it in");
  }
  CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId weights,
                           rpc::FromProto(spec.initial_model().weights()));
  std::shared_ptr<const HeldPayload> upload = parts_.uploads.Find(researcher, weights);
  if (upload != nullptr) return upload;
  return FailedPrecondition(
      "initial_model.weights names weights that you have not uploaded, or "
      "over an hour ago: upload them again");
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

  const StatusOr<std::shared_ptr<const HeldPayload>> upload =
      FindUpload(submission.researcher, submission.spec);
  if (!upload.ok()) return done(upload.status());
  StoredSubmission stored{.id = MakeJobId(),
                          .researcher = std::move(submission.researcher),
                          .idempotency_key = std::move(submission.idempotency_key),
                          .envelope = std::move(submission.envelope),
                          .submitted_at = Now()};
  StatusOr<JobEntry> entry = MakeEntry(stored, {});
  if (!entry.ok()) return done(entry.status());
  if (const Status fit = CheckSubmission(*entry); !fit.ok()) return done(fit);
  const JobId id = stored.id;
  batch_.submissions.push_back(std::move(stored));
  if (*upload != nullptr) {
    batch_.kept.push_back({id, kUploadedName, (*upload)->id(), (*upload)->bytes()});
  }
  order_.push_back(id);
  jobs_.emplace(id, std::make_unique<JobEntry>(*std::move(entry)));
  changed_.insert(id);
  // The upload is held until the commit is through.
  answers_.emplace_back([done, id, held = *upload](const Status& committed) {
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

  std::shared_ptr<const NextModel> model;
  StatusOr<JobEvent> event = done.product.ok() ? EventOf(*entry, *std::move(done.product), model)
                                               : StatusOr<JobEvent>(done.product.status());
  if (!event.ok()) {
    const std::string why = MessageOf(event.status());
    event = round == nullptr ? JobEvent(StartFailed{why}) : JobEvent(AggregationFailed{why});
  }
  if (const Status stepped = Step(*entry, *event); !stepped.ok()) {
    log::Error("job.result_not_taken", {{"job", done.job.value()}, {"why", MessageOf(stepped)}});
    return;
  }
  if (model != nullptr) StageModel(done.job, number, std::move(model));
}

// What a piece of work means for the job; a model it made goes into `model`.
StatusOr<JobEvent> Engine::EventOf(JobEntry& entry, WorkProduct product,
                                   std::shared_ptr<const NextModel>& model) {
  const Round* round = entry.machine.round();
  if (auto* step = std::get_if<StepOutcome>(&product)) {
    if (round == nullptr) return Internal("a step of secure aggregation without a round");
    LogBlamed(entry, step->blamed);
    entry.messages = std::move(step->messages);
    return StepDone{round->key(), std::move(step->sites), step->wall_time};
  }
  std::optional<MaskedSums> masked;
  std::variant<Preparation, RoundMetrics, NextModel> result;
  if (auto* unmasked = std::get_if<Unmasked>(&product)) {
    LogBlamed(entry, unmasked->blamed);
    entry.messages = nullptr;
    masked = std::move(unmasked->sums);
    result = std::move(unmasked->result);
  } else if (auto* next = std::get_if<NextModel>(&product)) {
    result = std::move(*next);
  } else if (auto* preparation = std::get_if<Preparation>(&product)) {
    result = std::move(*preparation);
  } else {
    result = std::get<RoundMetrics>(std::move(product));
  }
  if (auto* preparation = std::get_if<Preparation>(&result)) {
    return RoundAggregated{.result = std::move(*preparation), .masked = std::move(masked)};
  }
  if (auto* metrics = std::get_if<RoundMetrics>(&result)) {
    return RoundAggregated{.result = std::move(*metrics), .masked = std::move(masked)};
  }
  model = std::make_shared<const NextModel>(std::get<NextModel>(std::move(result)));
  if (round == nullptr) return JobStarted{model->model.id()};
  return RoundAggregated{.result = model->model.id(),
                         .server_state = StateOf(*model),
                         .converged = model->converged,
                         .note = model->note,
                         .masked = std::move(masked)};
}

// Keeps the model that a round made, 0 being the initial one, and lets old ones go.
void Engine::StageModel(const JobId& id, std::uint32_t round,
                        std::shared_ptr<const NextModel> model) {
  const std::string prefix = ModelPrefix(round);
  batch_.kept.push_back({id, prefix + "global", model->model.id(), model->model.bytes()});
  if (model->server_state.has_value()) {
    const HeldPayload& state = *model->server_state;
    batch_.kept.push_back({id, prefix + "state", state.id(), state.bytes()});
  }
  if (round == 0) batch_.dropped.push_back({id, kUploadedName});
  if (round >= kModelsKept) batch_.dropped.push_back({id, ModelPrefix(round - kModelsKept)});
  // Shared with the answer, which lets the payloads go once the commit is through.
  answers_.emplace_back([model = std::move(model)](const Status&) {});
}

// ---------------------------------------------------------------------------- cohorts

void Engine::StageCohorts(Time now) {
  const bool look_again = std::exchange(sites_changed_, false);
  for (const auto& [id, entry] : jobs_) {
    // A round that nobody can be asked in is abandoned at once, and the next one begins to look.
    while (const auto* selecting = std::get_if<Selecting>(&entry->machine.state())) {
      if (now < selecting->not_before) break;  // Nothing says why it waits: then it is new.
      const bool is_new = changed_.contains(id) || entry->wait_reason.empty();
      if (!look_again && !is_new && now < selecting->deadline) break;
      if (!StageCohort(*entry, now)) break;
    }
  }
}

Status Engine::CheckRoom(const JobEntry& entry, std::size_t num_sites) const {
  // Reports, those of a rule that reports twice included, then the next model and what its rule
  // carries on. Small ones are rows of the database, which must have room anyway.
  const std::uint64_t model = ModelBytes(entry);
  const std::uint64_t needed = kRoomForEvents + 2 * model * (num_sites + 1);
  const StatusOr<std::uint64_t> room = parts_.payloads.FreeBytes();
  if (!room.ok()) return room.status();
  if (*room >= needed) return OkStatus();
  return ResourceExhausted("the coordinator's disk has " + std::to_string(*room >> 20) +
                           " MiB free, and a round of " + std::to_string(num_sites) +
                           " sites may take " + std::to_string(needed >> 20) +
                           " MiB: make room on it");
}

// True when the job's machine took a step.
bool Engine::StageCohort(JobEntry& entry, Time now) {
  const auto& selecting = std::get<Selecting>(entry.machine.state());
  const std::vector<Candidate> candidates = CandidatesFor(entry);
  Selection selection = SelectCohort(candidates, CohortRulesOf(entry), selecting.round);
  if (const auto* cohort = std::get_if<Cohort>(&selection)) {
    const Status room = CheckRoom(entry, cohort->sites.size());
    if (!room.ok()) selection = TooFewSites{MessageOf(room)};  // Looked at again until then.
  }
  std::optional<JobEvent> event;
  if (const auto* cohort = std::get_if<Cohort>(&selection)) {
    event = CohortSelected{cohort->sites};
    if (jobs::IsMasked(entry.spec)) {
      StatusOr<CohortSelected> begun = BeginMaskedRound(entry, cohort->sites, selecting.round);
      event = begun.ok() ? JobEvent(*std::move(begun))
                         : JobEvent(QuorumImpossible{"secure aggregation cannot begin: " +
                                                     MessageOf(begun.status())});
    }
    entry.wait_reason.clear();
  } else if (const auto* never = std::get_if<NeverEnoughSites>(&selection)) {
    event = QuorumImpossible{never->reason};
  } else {
    const std::string& reason = std::get<TooFewSites>(selection).reason;
    if (entry.wait_reason != reason) changed_.insert(entry.submission.id);
    entry.wait_reason = reason;
    if (now < selecting.deadline) return false;
    event = NoCohort{reason};
    entry.wait_reason.clear();
  }
  const std::optional<RoundKey> earlier = entry.machine.session_round();
  const Status stepped = Step(entry, *event);
  if (const auto* selected = std::get_if<CohortSelected>(&*event);
      stepped.ok() && selected != nullptr && selected->begins_session) {
    StageSession(entry, *selected, earlier);
  }
  if (stepped.ok()) return true;
  log::Error("job.cohort_not_taken",
             {{"job", entry.submission.id.value()}, {"why", MessageOf(stepped)}});
  return false;
}

// Every site that can be asked prepares and personalizes, whatever trains in a round.
CohortRules Engine::CohortRulesOf(const JobEntry& entry) const {
  CohortRules rules{.min_reports = entry.spec.rounds().min_reports(),
                    .job_seed = entry.spec.seed()};
  if (jobs::IsMasked(entry.spec)) {
    rules.min_reports = std::max(rules.min_reports, secagg::kMinMembers);
  }
  // Sums with noise may differ by one site.
  if (!jobs::IsPrivate(entry.spec)) rules.preferred = entry.machine.begun_sum();
  if (entry.machine.phase() != Phase::kTraining) return rules;
  rules.cohort_size = entry.spec.rounds().cohort_size();
  if (entry.spec.aggregation().has_cyclic()) {
    rules.takes_turns = true;
    rules.previous = LastAsked(entry.machine.rounds());
  }
  return rules;
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

}  // namespace chorale::coordinator
