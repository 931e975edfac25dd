#include "site_agent/task_check.h"

#include <cmath>
#include <string>
#include <utility>

#include "core/ids.h"
#include "core/rpc/chunks.h"
#include "data/data_spec.h"
#include "data/dataset.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/job_spec.h"
#include "jobs/masking.h"

namespace chorale::site_agent {
namespace {

using Moments = google::protobuf::RepeatedPtrField<v1::FeatureMoments>;

std::string Text(std::uint64_t number) { return std::to_string(number); }

StatusOr<CheckedTask> CheckPreparation(const v1::Task& task, const v1::JobSpec& job) {
  if (!jobs::NeedsPreparation(job)) {
    return InvalidArgument(
        "task.preparation must be unset for a job without federated standardization of numeric "
        "features");
  }
  if (task.round() != 0) {
    return InvalidArgument("task.round must be 0 for a preparation, got " + Text(task.round()));
  }
  return CheckedTask{
      .facts = {.task_id = TaskId(task.task_id()), .kind = ReportKind::kPreparation}};
}

StatusOr<std::vector<data::Moments>> CheckMoments(const Moments& given, const v1::JobSpec& job,
                                                  const std::string& field) {
  std::vector<data::Moments> moments;
  if (!data::IsFederated(job.data().standardization())) {
    if (given.empty()) return moments;
    return InvalidArgument(field +
                           ".moments must be empty for a job without federated standardization, "
                           "got " +
                           std::to_string(given.size()));
  }
  moments.reserve(static_cast<std::size_t>(given.size()));
  for (const v1::FeatureMoments& feature : given) {
    if (!std::isfinite(feature.imputed())) {
      return InvalidArgument(field + ".moments must have an imputed value that is finite");
    }
    moments.push_back({.mean = feature.mean(),
                       .standard_deviation = feature.standard_deviation(),
                       .imputed = feature.imputed()});
  }
  CHORALE_RETURN_IF_ERROR(Annotate(data::Validate(moments, job.data()), field));
  return moments;
}

StatusOr<crypto::BlobId> CheckBlob(const v1::BlobDescriptor& descriptor, std::uint64_t size_bytes,
                                   const std::string& field) {
  StatusOr<crypto::BlobId> blob = rpc::FromProto(descriptor);
  if (!blob.ok()) return Annotate(blob.status(), field);
  if (blob->size_bytes == size_bytes) return blob;
  return InvalidArgument(field + ".size_bytes must be " + Text(size_bytes) + ", got " +
                         Text(blob->size_bytes));
}

Status CheckRound(std::uint32_t round, std::uint64_t low, std::uint64_t high) {
  if (round >= low && round <= high) return OkStatus();
  return InvalidArgument("task.round must be in [" + Text(low) + ", " + Text(high) + "], got " +
                         Text(round));
}

StatusOr<std::optional<double>> CheckClipping(const v1::Task& task, const v1::JobSpec& job) {
  const double norm = task.training().clipping_norm();
  if (!jobs::HasAdaptiveClipping(job.privacy())) {
    if (norm == 0) return std::optional<double>();
    return InvalidArgument(
        "task.training.clipping_norm must be unset for a job whose clipping does not adapt");
  }
  const Status fits = jobs::CheckClippingNorm(job.privacy(), task.round(), norm);
  if (fits.ok()) return std::optional(norm);
  return InvalidArgument("task.training.clipping_norm " + MessageOf(fits));
}

StatusOr<CheckedTask> CheckTraining(const v1::Task& task, const v1::JobSpec& job,
                                    std::uint64_t model_bytes) {
  if (job.has_newton()) {
    return InvalidArgument("task.training must be unset for a job that newton solves");
  }
  CHORALE_RETURN_IF_ERROR(CheckRound(task.round(), 1, job.rounds().count()));
  const v1::TrainingTask& training = task.training();
  CheckedTask checked{.facts = {.task_id = TaskId(task.task_id()),
                                .kind = ReportKind::kUpdate,
                                .round = task.round()},
                      .round = task.round()};
  CHORALE_ASSIGN_OR_RETURN(
      checked.model, CheckBlob(training.global_model(), model_bytes, "task.training.global_model"));
  if (training.has_control_variate()) {
    if (!job.training().has_scaffold()) {
      return InvalidArgument(
          "task.training.control_variate must be unset for a job without scaffold");
    }
    CHORALE_ASSIGN_OR_RETURN(
        checked.control_variate,
        CheckBlob(training.control_variate(), model_bytes, "task.training.control_variate"));
  }
  CHORALE_ASSIGN_OR_RETURN(checked.clipping_norm, CheckClipping(task, job));
  CHORALE_ASSIGN_OR_RETURN(checked.moments, CheckMoments(training.moments(), job, "task.training"));
  return checked;
}

StatusOr<CheckedTask> CheckNewton(const v1::Task& task, const v1::JobSpec& job,
                                  std::uint64_t num_coefficients) {
  if (!job.has_newton()) {
    return InvalidArgument("task.newton must be unset for a job that trains by gradients");
  }
  CHORALE_RETURN_IF_ERROR(CheckRound(task.round(), 1, job.rounds().count()));
  const v1::NewtonTask& newton = task.newton();
  CheckedTask checked{.facts = {.task_id = TaskId(task.task_id()), .kind = ReportKind::kNewtonSums},
                      .round = task.round()};
  CHORALE_ASSIGN_OR_RETURN(checked.model,
                           CheckBlob(newton.coefficients(), num_coefficients * sizeof(double),
                                     "task.newton.coefficients"));
  CHORALE_ASSIGN_OR_RETURN(checked.moments, CheckMoments(newton.moments(), job, "task.newton"));
  return checked;
}

StatusOr<CheckedTask> CheckPersonalization(const v1::Task& task, const v1::JobSpec& job,
                                           std::uint64_t model_bytes) {
  if (!job.has_personalization() || job.has_newton()) {
    return InvalidArgument("task.personalization must be unset for a job that does not ask for it");
  }
  // Which round was the last is known beforehand unless the job may end early.
  const std::uint64_t after_last = std::uint64_t{job.rounds().count()} + 1;
  CHORALE_RETURN_IF_ERROR(
      CheckRound(task.round(), job.rounds().has_early_stop() ? 2 : after_last, after_last));
  const v1::PersonalizationTask& personalization = task.personalization();
  CheckedTask checked{
      .facts = {.task_id = TaskId(task.task_id()), .kind = ReportKind::kPersonalMetrics},
      .round = task.round()};
  CHORALE_ASSIGN_OR_RETURN(checked.model, CheckBlob(personalization.global_model(), model_bytes,
                                                    "task.personalization.global_model"));
  CHORALE_ASSIGN_OR_RETURN(checked.moments,
                           CheckMoments(personalization.moments(), job, "task.personalization"));
  return checked;
}

constexpr std::size_t kMaxRoundStartBytes = 64 * 1024;
constexpr std::size_t kMaxCertificateBytes = 16 * 1024;

Status CheckRoundStart(const v1::Task& task, const v1::JobSpec& job) {
  const std::size_t size = task.round_start().size();
  if (!jobs::IsMasked(job)) {
    return size == 0 ? OkStatus()
                     : InvalidArgument(
                           "task.round_start must be empty for a job without secure aggregation");
  }
  if (size >= 1 && size <= kMaxRoundStartBytes) return OkStatus();
  return InvalidArgument(
      "task.round_start must have 1 to 65536 bytes under secure aggregation, got " + Text(size));
}

StatusOr<CheckedTask> CheckWork(const v1::Task& task, const v1::JobSpec& job,
                                const models::GraphPlan& plan) {
  switch (task.work_case()) {
    case v1::Task::kPreparation:
      return CheckPreparation(task, job);
    case v1::Task::kTraining:
      return CheckTraining(task, job, plan.layout().size_bytes());
    case v1::Task::kNewton:
      return CheckNewton(task, job, plan.layout().num_parameters());
    case v1::Task::kPersonalization:
      return CheckPersonalization(task, job, plan.layout().size_bytes());
    default:
      return InvalidArgument("task.work must be set to a kind that this agent knows");
  }
}

// Whether the site keeps something of the job beyond a round: local_store.h.
bool KeepsFiles(const v1::JobSpec& job) {
  return job.training().has_scaffold() || job.training().local_normalization() ||
         job.has_personalization();
}

}  // namespace

bool IsStep(const v1::Task& task) {
  switch (task.work_case()) {
    case v1::Task::kAdvertiseKeys:
    case v1::Task::kShareKeys:
    case v1::Task::kAcknowledgeShares:
    case v1::Task::kConsistencyCheck:
    case v1::Task::kUnmasking:
      return true;
    default:
      return false;
  }
}

StatusOr<CheckedStep> CheckStep(const v1::Task& task, const v1::JobSpec& job) {
  if (!jobs::IsMasked(job)) {
    return InvalidArgument("task.work must be no step of secure aggregation: the job has none");
  }
  CHORALE_RETURN_IF_ERROR(ValidateName("task.job_id", task.job_id()));
  CheckedStep step;
  const v1::BlobDescriptor* message = nullptr;
  auto asked = secagg::MessageKind::kSessionManifest;
  switch (task.work_case()) {
    case v1::Task::kShareKeys:
      step.answer = secagg::MessageKind::kShareKeys;
      asked = secagg::MessageKind::kKeyDirectory;
      message = &task.share_keys().directory();
      break;
    case v1::Task::kAcknowledgeShares:
      step.answer = secagg::MessageKind::kShareKeysAck;
      asked = secagg::MessageKind::kShareDelivery;
      message = &task.acknowledge_shares().delivery();
      break;
    case v1::Task::kConsistencyCheck:
      step.answer = secagg::MessageKind::kConsistencySignature;
      asked = secagg::MessageKind::kSurvivors;
      message = &task.consistency_check().survivors();
      break;
    case v1::Task::kUnmasking:
      step.answer = secagg::MessageKind::kUnmasking;
      asked = secagg::MessageKind::kConsistencySignatures;
      message = &task.unmasking().signatures();
      break;
    default:
      step.coordinator_certificate = task.advertise_keys().coordinator_certificate();
      message = &task.advertise_keys().manifest();
      if (step.coordinator_certificate.size() <= kMaxCertificateBytes) break;
      return InvalidArgument(
          "task.advertise_keys.coordinator_certificate must have at most 16384 bytes, got " +
          Text(step.coordinator_certificate.size()));
  }
  StatusOr<crypto::BlobId> blob = rpc::FromProto(*message);
  if (!blob.ok()) return Annotate(blob.status(), "task.work");
  if (blob->size_bytes == 0 || blob->size_bytes > secagg::MaxBytes(asked)) {
    return InvalidArgument("task.work must name a message of 1 to " +
                           Text(secagg::MaxBytes(asked)) + " bytes, got " + Text(blob->size_bytes));
  }
  step.message = *blob;
  return step;
}

StatusOr<CheckedTask> CheckTask(const v1::Task& task, const v1::JobSpec& job,
                                const models::GraphPlan& plan) {
  // The id becomes a directory's name, and that of a session.
  if (KeepsFiles(job) || jobs::IsMasked(job)) {
    CHORALE_RETURN_IF_ERROR(ValidateName("task.job_id", task.job_id()));
  }
  CHORALE_ASSIGN_OR_RETURN(CheckedTask checked, CheckWork(task, job, plan));
  CHORALE_RETURN_IF_ERROR(CheckRoundStart(task, job));
  const ByteSpan start = AsBytes(task.round_start());
  checked.round_start.assign(start.begin(), start.end());
  return checked;
}

}  // namespace chorale::site_agent
