#include "site_agent/work.h"

#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include "core/log.h"
#include "core/parameters.h"
#include "site_agent/model_fetch.h"
#include "site_agent/model_metrics.h"

namespace chorale::site_agent {
namespace {

// The coordinator gets a code; the reason stays in the site's log.
Refusal Refuse(ReasonCode code, const v1::Task& task, const Status& problem) {
  log::Warning("task.problem",
               {{"task", task.task_id()}, {"code", NameOf(code)}, {"problem", MessageOf(problem)}});
  return Refusal{.code = code};
}

ReasonCode CodeOfVerification(const Status& status) {
  return status.code() == StatusCode::kInvalidArgument ? ReasonCode::kJobInvalid
                                                       : ReasonCode::kSignatureInvalid;
}

ReasonCode CodeOfTraining(const Status& status) {
  switch (status.code()) {
    case StatusCode::kFailedPrecondition:
      return ReasonCode::kTrainingDiverged;
    case StatusCode::kResourceExhausted:
      return ReasonCode::kResourceLimit;
    case StatusCode::kInvalidArgument:
      return ReasonCode::kJobInvalid;
    default:
      return ReasonCode::kInternalError;
  }
}

}  // namespace

Work::Work(WorkParts parts) : parts_(std::move(parts)), datasets_(parts_.config_directory) {}

WorkOutcome Work::Run(const v1::Task& task, Cancellation& cancellation,
                      const WorkObserver& observer) {
  try {
    std::variant<Admitted, Refusal> admission = Admit(task);
    if (auto* refusal = std::get_if<Refusal>(&admission)) return *std::move(refusal);
    if (cancellation.is_cancelled()) return WorkWasCancelled{};
    observer.on_admitted();
    Admitted admitted = std::get<Admitted>(std::move(admission));
    switch (admitted.terms.kind()) {
      case ReportKind::kMoments:
        return Prepare(std::move(admitted));
      case ReportKind::kUpdate:
        return Train(std::move(admitted), task.round(), cancellation, observer);
    }
  } catch (const std::bad_alloc&) {
    // The policy bounds a model's size; this machine may have less memory than its policy allows.
    return Refuse(ReasonCode::kResourceLimit, task, ResourceExhausted("out of memory"));
  }
  return Refusal{.code = ReasonCode::kInternalError};
}

std::variant<Work::Admitted, Refusal> Work::Admit(const v1::Task& task) {
  // At every round again: certificates expire, and policies and tables change.
  StatusOr<jobs::VerifiedJob> job =
      jobs::VerifySignedJob(task.job(), parts_.root, parts_.clock.WallNow());
  if (!job.ok()) return Refuse(CodeOfVerification(job.status()), task, job.status());
  StatusOr<CheckedTask> checked = CheckTask(task, job->spec);
  if (!checked.ok()) return Refuse(ReasonCode::kTaskInvalid, task, checked.status());

  const auto dataset =
      std::ranges::find(parts_.config.datasets(), job->spec.dataset(),
                        [](const v1::DatasetConfig& config) { return config.id(); });
  if (dataset == parts_.config.datasets().end()) {
    return Refusal{.code = ReasonCode::kDatasetUnknown, .subject = job->spec.dataset()};
  }
  if (std::optional<Refusal> refusal = RefusalBeforeData(*job, parts_.config.policy())) {
    return *std::move(refusal);
  }
  if (checked->facts.kind == ReportKind::kUpdate && parts_.trainer == nullptr) {
    return Refusal{.code = ReasonCode::kTrainerUnavailable};
  }
  const auto loaded = datasets_.Load(*dataset, job->spec.data());
  if (const auto* code = std::get_if<ReasonCode>(&loaded)) return Refusal{.code = *code};
  LoadedDataset* const table = std::get<LoadedDataset*>(loaded);
  Decision decision = Decide(*job, checked->facts, parts_.config.policy(),
                             {.num_training_rows = table->dataset().num_training_rows(),
                              .num_test_rows = table->dataset().num_test_rows()});
  if (auto* refusal = std::get_if<Refusal>(&decision)) return *std::move(refusal);
  return Admitted{.job = *std::move(job),
                  .task = *std::move(checked),
                  .terms = std::get<ReleaseTerms>(std::move(decision)),
                  .dataset = table};
}

WorkOutcome Work::Prepare(Admitted admitted) {
  std::vector<double> payload;  // [num_numeric_features, 3]
  for (const data::MomentSums& sums : admitted.dataset->dataset().TrainingMoments()) {
    payload.insert(payload.end(), {sums.count, sums.sum, sums.sum_of_squares});
  }
  const std::uint64_t num_examples = admitted.terms.dataset().num_training_rows;
  return WorkDone{.terms = std::move(admitted.terms),
                  .report = {.payload = std::move(payload), .num_examples = num_examples}};
}

WorkOutcome Work::Train(Admitted admitted, std::uint32_t round, Cancellation& cancellation,
                        const WorkObserver& observer) {
  const v1::JobSpec& spec = admitted.job.spec;
  v1::Task named;  // For messages.
  named.set_task_id(admitted.terms.task_id().value());
  const StatusOr<ParameterVector> global =
      FetchParameters(parts_.blobs, admitted.terms.task_id(), *admitted.task.global_model,
                      parts_.random, cancellation);
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!global.ok()) return Refuse(ReasonCode::kTaskInvalid, named, global.status());
  if (!AllFinite(*global)) {
    return Refuse(ReasonCode::kTaskInvalid, named,
                  InvalidArgument("the global model has a number that is not finite"));
  }

  const bool is_federated = spec.data().standardization() == v1::STANDARDIZATION_FEDERATED;
  const PreparedExamples& examples =
      admitted.dataset->Prepare(is_federated ? std::optional(admitted.task.moments) : std::nullopt);
  StatusOr<std::vector<v1::MetricValue>> metrics =
      EvaluateMetrics(*parts_.trainer, spec.model(), *global, examples, admitted.terms);
  if (!metrics.ok()) return Refuse(CodeOfTraining(metrics.status()), named, metrics.status());
  if (cancellation.is_cancelled()) return WorkWasCancelled{};

  const Time start = parts_.clock.Now();
  StatusOr<training::TrainResult> result =
      parts_.trainer->Train({.model = spec.model(),
                             .training = spec.training(),
                             .train = examples.train,
                             .global_parameters = *global,
                             .seed = training::SeedFor(spec.seed(), round, parts_.site),
                             .on_progress = observer.on_progress,
                             .cancelled = &cancellation.flag()});
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!result.ok()) return Refuse(CodeOfTraining(result.status()), named, result.status());
  if (!AllFinite(result->update)) {
    return Refuse(ReasonCode::kTrainingDiverged, named,
                  FailedPrecondition("the update has a number that is not finite"));
  }
  return WorkDone{.terms = std::move(admitted.terms),
                  .report = {.payload = std::move(result->update),
                             .num_examples = result->num_examples,
                             .metrics = *std::move(metrics),
                             .training_time = parts_.clock.Now() - start}};
}

}  // namespace chorale::site_agent
