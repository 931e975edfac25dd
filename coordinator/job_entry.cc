#include "coordinator/job_entry.h"

#include <optional>
#include <utility>
#include <variant>

#include "coordinator/aggregation/newton_sums.h"
#include "coordinator/job_event_codec.h"
#include "coordinator/metric_sums.h"
#include "coordinator/round_record.h"
#include "coordinator/time_codec.h"
#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/rpc/chunks.h"
#include "data/preparation.h"
#include "jobs/job_spec.h"
#include "models/graph.h"

namespace chorale::coordinator {
namespace {

std::string NamesOfPending(const Round& round) {
  std::string names;
  for (const auto& [site, status] : round.sites()) {
    const bool is_dropped = std::holds_alternative<Dropped>(status);
    if (!is_dropped && !std::holds_alternative<Pending>(status)) continue;
    names += (names.empty() ? "" : ", ") + site.value() + (is_dropped ? " (dropped)" : "");
  }
  return names;
}

std::string ReasonOfRound(const Round& round, Phase phase) {
  const bool makes_model = phase == Phase::kTraining || phase == Phase::kNewton;
  const std::string name = makes_model ? "round " + std::to_string(round.key().number.value())
                                       : "the " + std::string(NameOf(phase)) + " round";
  if (std::holds_alternative<Collecting>(round.state())) {
    return name + " waits for " + NamesOfPending(round);
  }
  return name + ": summing " + std::to_string(round.Contributors().size()) + " reports";
}

// State and reason by the machine's state.
void WriteState(const JobEntry& entry, v1::JobSummary& summary) {
  const JobMachineState& state = entry.machine.state();
  if (std::holds_alternative<Queued>(state)) {
    summary.set_state(entry.is_active ? v1::JOB_STATE_RUNNING : v1::JOB_STATE_QUEUED);
    summary.set_reason(entry.is_active ? "making the initial model"
                                       : "waits for a running job to end");
  } else if (const auto* selecting = std::get_if<Selecting>(&state)) {
    summary.set_state(v1::JOB_STATE_RUNNING);
    const bool pauses = selecting->not_before > selecting->since;
    summary.set_reason(!entry.wait_reason.empty() ? entry.wait_reason
                       : pauses                   ? "pausing after rounds that were abandoned: " +
                                      entry.machine.rounds().back().reason()
                                : "selecting a cohort");
  } else if (const Round* round = entry.machine.round()) {
    summary.set_state(v1::JOB_STATE_RUNNING);
    const Phase phase = *entry.machine.phase();
    summary.set_reason(ReasonOfRound(*round, phase));
    *summary.mutable_current() = ProgressOf(*round, phase);
  } else if (const auto* failed = std::get_if<Failed>(&state)) {
    summary.set_state(v1::JOB_STATE_FAILED);
    summary.set_reason(failed->reason);
  } else if (const auto* cancelled = std::get_if<CancelledBy>(&state)) {
    summary.set_state(v1::JOB_STATE_CANCELLED);
    summary.set_reason("cancelled by " + cancelled->researcher.value());
  } else {
    summary.set_state(v1::JOB_STATE_COMPLETED);
    summary.set_reason(std::get<Completed>(state).reason);
  }
}

// The task's words for what every kind of it is given.
template <typename SpecificTask>
void WriteMoments(const JobEntry& entry, SpecificTask& task) {
  for (const v1::FeatureMoments& moments : entry.machine.moments()) *task.add_moments() = moments;
}

bool UsesControlVariates(const JobEntry& entry) { return entry.spec.training().has_scaffold(); }

// Of the present round, where its clipping adapts.
std::optional<double> ClippingNormOf(const JobEntry& entry) {
  return entry.machine.phase() == Phase::kTraining ? entry.machine.clipping_norm() : std::nullopt;
}

// REQUIRES: a step of secure aggregation.
void WriteStep(RoundStep step, v1::BlobDescriptor message, v1::Task& task) {
  switch (step) {
    case RoundStep::kAdvertiseKeys:
      *task.mutable_advertise_keys()->mutable_manifest() = std::move(message);
      break;
    case RoundStep::kShareKeys:
      *task.mutable_share_keys()->mutable_directory() = std::move(message);
      break;
    case RoundStep::kAcknowledgeShares:
      *task.mutable_acknowledge_shares()->mutable_delivery() = std::move(message);
      break;
    case RoundStep::kConsistencyCheck:
      *task.mutable_consistency_check()->mutable_survivors() = std::move(message);
      break;
    case RoundStep::kUnmasking:
      *task.mutable_unmasking()->mutable_signatures() = std::move(message);
      break;
    case RoundStep::kReport:
      break;
  }
}

std::uint64_t MaxBytesOf(RoundStep step) {
  switch (step) {
    case RoundStep::kAdvertiseKeys:
      return secagg::MaxBytes(secagg::MessageKind::kAdvertiseKeys);
    case RoundStep::kShareKeys:
      return secagg::MaxBytes(secagg::MessageKind::kShareKeys);
    case RoundStep::kAcknowledgeShares:
      return secagg::MaxBytes(secagg::MessageKind::kShareKeysAck);
    case RoundStep::kConsistencyCheck:
      return secagg::MaxBytes(secagg::MessageKind::kConsistencySignature);
    case RoundStep::kUnmasking:
    case RoundStep::kReport:
      break;
  }
  return secagg::MaxBytes(secagg::MessageKind::kUnmasking);
}

}  // namespace

StatusOr<JobEntry> MakeEntry(StoredSubmission submission, const std::vector<v1::JobEvent>& events) {
  v1::JobSpec spec;
  if (!spec.ParseFromString(submission.envelope.spec())) {
    return InvalidArgument("the specification of job " + submission.id.value() +
                           " is no JobSpec message");
  }
  const std::string context = "job " + submission.id.value();
  CHORALE_RETURN_IF_ERROR(Annotate(jobs::Validate(spec), context));
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan plan, jobs::PlanOf(spec));
  StatusOr<Job> machine = Replay(RulesOf(spec), events);
  if (!machine.ok()) return Annotate(machine.status(), context);
  return JobEntry{.submission = std::move(submission),
                  .spec = std::move(spec),
                  .layout = plan.layout(),
                  .graph_digest = plan.digest(),
                  .machine = *std::move(machine),
                  .wait_reason = {}};
}

std::uint64_t ModelBytes(const JobEntry& entry) {
  return entry.layout.num_parameters() * jobs::BytesPerParameter(entry.spec);
}

v1::JobSummary SummaryOf(const JobEntry& entry) {
  v1::JobSummary summary;
  summary.set_job_id(entry.submission.id.value());
  summary.set_name(entry.spec.name());
  summary.set_researcher(entry.submission.researcher.value());
  summary.set_published_rounds(entry.machine.num_published());
  summary.set_wanted_rounds(entry.spec.rounds().count());
  *summary.mutable_submitted_at() = ToProto(entry.submission.submitted_at);
  if (entry.machine.ended_at().has_value()) {
    *summary.mutable_ended_at() = ToProto(*entry.machine.ended_at());
  }
  WriteState(entry, summary);
  return summary;
}

std::string UpdatePrefix(RoundKey round) {
  return "update/" + std::to_string(round.number.value()) + "/" + std::to_string(round.attempt) +
         "/";
}

bool BeginsSession(RoundStep step) {
  return step == RoundStep::kAdvertiseKeys || step == RoundStep::kShareKeys ||
         step == RoundStep::kAcknowledgeShares;
}

std::string SessionPrefix(RoundKey round) {
  return "session/" + std::to_string(round.number.value()) + "/" + std::to_string(round.attempt) +
         "/";
}

std::string UpdateName(RoundKey round, const SiteId& site) {
  const std::string step = SlugOf(round.step);
  return (BeginsSession(round.step) ? SessionPrefix(round) : UpdatePrefix(round)) +
         (step.empty() ? "" : step + "/") + site.value();
}

jobs::MaskedKind MaskedKindOf(Phase phase) {
  switch (phase) {
    case Phase::kPreparation:
      return jobs::MaskedKind::kPreparation;
    case Phase::kNewton:
      return jobs::MaskedKind::kNewtonSums;
    case Phase::kPersonalization:
      return jobs::MaskedKind::kPersonalMetrics;
    case Phase::kTraining:
      break;
  }
  return jobs::MaskedKind::kUpdate;
}

StatusOr<jobs::MaskedLayout> MaskedLayoutOf(const JobEntry& entry, std::uint32_t num_members) {
  CHORALE_ASSIGN_OR_RETURN(
      jobs::MaskedLayout layout,
      jobs::MaskedLayout::Create(entry.spec, MaskedKindOf(*entry.machine.phase()),
                                 entry.layout.num_parameters(), num_members));
  const std::optional<double> norm = ClippingNormOf(entry);
  return norm.has_value() ? layout.WithClippingNorm(*norm) : layout;
}

// The report's own deadline, and less than as much for the two steps behind it.
Duration MaskedRoundTime(const JobEntry& entry) { return 2 * entry.machine.rules().deadline; }

RoundOpening OpeningOf(const JobEntry& entry, RoundNumber round, const jobs::MaskedLayout& layout) {
  const Phase phase = *entry.machine.phase();
  jobs::MaskedTask task{.job = crypto::Sha256(AsBytes(entry.submission.envelope.spec())),
                        .kind = MaskedKindOf(phase),
                        .round = round.value()};
  RoundOpening opening{.encoding = layout.digest(), .vector_bytes = layout.vector().size_bytes()};
  if (phase != Phase::kPreparation) {
    opening.model = entry.machine.model()->digest;
    task.moments = entry.machine.moments();
  }
  if (phase == Phase::kTraining && UsesControlVariates(entry) &&
      entry.machine.server_state().has_value()) {
    task.control_variate = entry.machine.server_state()->digest;
  }
  task.clipping_norm = ClippingNormOf(entry);
  opening.task = jobs::DigestOf(task);
  return opening;
}

std::string ModelPrefix(std::uint32_t round) { return "model/" + std::to_string(round) + "/"; }

v1::Task MakeTask(const JobEntry& entry, const Dispatch& dispatch) {
  v1::Task task;
  task.set_task_id(TaskIdOf(entry.submission.id, dispatch.round, dispatch.site).value());
  task.set_job_id(entry.submission.id.value());
  task.set_round(dispatch.round.number.value());
  *task.mutable_job() = entry.submission.envelope;
  *task.mutable_report_deadline() = ToProto(dispatch.report_deadline);
  if (dispatch.round.step != RoundStep::kReport) {
    WriteStep(dispatch.round.step, rpc::ToProto(entry.messages->blobs.at(dispatch.site)), task);
    if (task.has_advertise_keys()) {
      task.mutable_advertise_keys()->set_coordinator_certificate(entry.messages->certificate);
    }
    return task;
  }
  if (entry.messages != nullptr) task.set_round_start(entry.messages->round_start);
  const v1::BlobDescriptor model = rpc::ToProto(*entry.machine.model());
  switch (*entry.machine.phase()) {
    case Phase::kPreparation:
      task.mutable_preparation();
      break;
    case Phase::kTraining:
      *task.mutable_training()->mutable_global_model() = model;
      WriteMoments(entry, *task.mutable_training());
      if (UsesControlVariates(entry) && entry.machine.server_state().has_value()) {
        *task.mutable_training()->mutable_control_variate() =
            rpc::ToProto(*entry.machine.server_state());
      }
      task.mutable_training()->set_clipping_norm(ClippingNormOf(entry).value_or(0));
      break;
    case Phase::kNewton:
      *task.mutable_newton()->mutable_coefficients() = model;
      WriteMoments(entry, *task.mutable_newton());
      break;
    case Phase::kPersonalization:
      *task.mutable_personalization()->mutable_global_model() = model;
      WriteMoments(entry, *task.mutable_personalization());
      break;
  }
  return task;
}

OpenTask MakeOpenTask(const JobEntry& entry, const SiteId& site) {
  const Round& round = *entry.machine.round();
  OpenTask task{.id = TaskIdOf(entry.submission.id, round.key(), site),
                .job = entry.submission.id,
                .round = round.key(),
                .site = site,
                .phase = *entry.machine.phase()};
  if (const auto status = round.sites().find(site); status != round.sites().end()) {
    if (const auto* report = std::get_if<Report>(&status->second)) task.report = *report;
  }
  if (round.key().step != RoundStep::kReport) {
    task.payload_bytes = MaxBytesOf(round.key().step);
    if (entry.messages != nullptr) {
      const auto message = entry.messages->blobs.find(site);
      if (message != entry.messages->blobs.end()) task.blobs = {message->second};
    }
    return task;
  }
  const v1::TrainingSpec& training = entry.spec.training();
  switch (task.phase) {
    case Phase::kPreparation:
      task.payload_bytes = data::PreparationSize(entry.spec.data()) * sizeof(double);
      task.data = std::make_shared<const v1::DataSpec>(entry.spec.data());
      break;
    case Phase::kTraining:
      task.payload_bytes = entry.layout.size_bytes();
      task.metrics = {training.metrics().begin(), training.metrics().end()};
      task.blobs = {*entry.machine.model()};
      if (UsesControlVariates(entry)) {
        task.payload_bytes *= 2;
        if (entry.machine.server_state().has_value()) {
          task.blobs.push_back(*entry.machine.server_state());
        }
      }
      break;
    case Phase::kNewton:
      task.num_coefficients = entry.layout.num_parameters();
      task.payload_bytes = NewtonPayloadBytes(task.num_coefficients);
      task.blobs = {*entry.machine.model()};
      break;
    case Phase::kPersonalization:
      task.metrics = {training.metrics().begin(), training.metrics().end()};
      task.payload_bytes = MetricPayloadBytes(task.metrics.size());
      task.blobs = {*entry.machine.model()};
      break;
  }
  if (entry.exchange != nullptr) {
    task.is_masked = true;
    // The layout could be made before, when the round was opened.
    if (const auto layout = MaskedLayoutOf(entry, entry.exchange->num_members()); layout.ok()) {
      task.payload_bytes = layout->vector().size_bytes();
    }
  }
  return task;
}

}  // namespace chorale::coordinator
