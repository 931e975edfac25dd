#include "site_agent/task_check.h"

#include <string>

#include "core/ids.h"
#include "core/parameters.h"
#include "core/rpc/chunks.h"
#include "data/data_spec.h"
#include "data/dataset.h"
#include "jobs/job_spec.h"

namespace chorale::site_agent {
namespace {

StatusOr<CheckedTask> CheckPreparation(const v1::Task& task, const v1::JobSpec& job) {
  if (!jobs::NeedsPreparation(job)) {
    return InvalidArgument(
        "task.preparation must be unset for a job without federated standardization");
  }
  if (task.round() != 0) {
    return InvalidArgument("task.round must be 0 for a preparation, got " +
                           std::to_string(task.round()));
  }
  if (data::NumNumericFeatures(job.data()) == 0) {
    return InvalidArgument("task.preparation must be unset for a job without numeric features");
  }
  return CheckedTask{.facts = {.task_id = TaskId(task.task_id()), .kind = ReportKind::kMoments}};
}

StatusOr<std::vector<data::Moments>> CheckMoments(const v1::TrainingTask& training,
                                                  const v1::JobSpec& job) {
  std::vector<data::Moments> moments;
  if (job.data().standardization() != v1::STANDARDIZATION_FEDERATED) {
    if (training.moments().empty()) return moments;
    return InvalidArgument(
        "task.training.moments must be empty for a job without federated standardization, got " +
        std::to_string(training.moments_size()));
  }
  moments.reserve(static_cast<std::size_t>(training.moments_size()));
  for (const v1::FeatureMoments& feature : training.moments()) {
    moments.push_back({.mean = feature.mean(), .standard_deviation = feature.standard_deviation()});
  }
  CHORALE_RETURN_IF_ERROR(Annotate(data::Validate(moments, job.data()), "task.training"));
  return moments;
}

StatusOr<CheckedTask> CheckTraining(const v1::Task& task, const v1::JobSpec& job) {
  if (task.round() < 1 || task.round() > job.rounds().count()) {
    return InvalidArgument("task.round must be in [1, " + std::to_string(job.rounds().count()) +
                           "], got " + std::to_string(task.round()));
  }
  const v1::TrainingTask& training = task.training();
  CHORALE_ASSIGN_OR_RETURN(const ParameterLayout layout, jobs::LayoutOf(job));
  CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId model, rpc::FromProto(training.global_model()));
  if (model.size_bytes != layout.size_bytes()) {
    return InvalidArgument("task.training.global_model.size_bytes must be " +
                           std::to_string(layout.size_bytes()) + ", got " +
                           std::to_string(model.size_bytes));
  }
  CHORALE_ASSIGN_OR_RETURN(std::vector<data::Moments> moments, CheckMoments(training, job));
  return CheckedTask{.facts = {.task_id = TaskId(task.task_id()), .kind = ReportKind::kUpdate},
                     .global_model = model,
                     .moments = std::move(moments)};
}

}  // namespace

StatusOr<CheckedTask> CheckTask(const v1::Task& task, const v1::JobSpec& job) {
  switch (task.work_case()) {
    case v1::Task::kPreparation:
      return CheckPreparation(task, job);
    case v1::Task::kTraining:
      return CheckTraining(task, job);
    case v1::Task::WORK_NOT_SET:
      break;
  }
  return InvalidArgument("task.work must be set to a kind that this agent knows");
}

}  // namespace chorale::site_agent
