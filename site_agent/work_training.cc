// The tasks of Work that train: a round, and what comes after the last one.
#include <algorithm>
#include <optional>
#include <utility>

#include "core/log.h"
#include "core/parameters.h"
#include "site_agent/local_normalization.h"
#include "site_agent/model_fetch.h"
#include "site_agent/model_metrics.h"
#include "site_agent/work.h"

namespace chorale::site_agent {
namespace {

// A restart that repeats less than this is not worth a write; and writing takes no more than a
// twentieth of the time.
constexpr Duration kLeastCheckpointPause = std::chrono::seconds(30);
constexpr int kTrainingPerWriting = 20;

ReasonCode CodeOfStore(const Status& status) {
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kPermissionDenied:
      return ReasonCode::kTaskInvalid;
    case StatusCode::kResourceExhausted:
      return ReasonCode::kResourceLimit;
    default:
      return ReasonCode::kInternalError;
  }
}

// What the trainer gave back, held against what it was asked for.
Status CheckResult(const training::TrainResult& result, const v1::TrainingSpec& training,
                   std::uint64_t num_parameters) {
  if (result.update.size() != num_parameters ||
      result.control_change.size() != (training.has_scaffold() ? num_parameters : 0)) {
    return Internal("the trainer changed the size of the model");
  }
  if (AllFinite(result.update) && AllFinite(result.control_change)) return OkStatus();
  return FailedPrecondition("the update has a number that is not finite");
}

void Add(std::span<const float> change, std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += change[i];
}

}  // namespace

StatusOr<ParameterVector> Work::Fetch(const Admitted& admitted, const crypto::BlobId& blob,
                                      Cancellation& cancellation) {
  StatusOr<ParameterVector> values =
      FetchParameters(parts_.blobs, admitted.terms.task_id(), blob, parts_.random, cancellation);
  if (!values.ok() || AllFinite(*values)) return values;
  return InvalidArgument(
      "the global model, or its control variate, has a number that is not "
      "finite");
}

// What the site kept of earlier rounds; its own norm layers take the place of the global ones in
// `start`.
StatusOr<LocalState> Work::LoadState(const Admitted& admitted, std::span<float> start) {
  const v1::TrainingSpec& training = admitted.job.spec.training();
  if (!training.has_scaffold() && !training.local_normalization()) return LocalState();
  CHORALE_ASSIGN_OR_RETURN(
      LocalState state,
      store_.Load({JobId(admitted.message.job_id()), admitted.job.spec_digest}, admitted.task.round,
                  2 * admitted.plan->layout().num_parameters()));
  if (!state.control_variate.empty() && state.control_variate.size() != start.size()) {
    return DataLoss("the site's control variate is that of another model");
  }
  if (!state.normalization.empty()) {
    const Status fits = OverlayNormalization(*admitted.plan, state.normalization, start);
    if (!fits.ok()) return DataLoss(MessageOf(fits));
  }
  return state;
}

// Proposes what the next round starts from, and takes out of the result what stays at the site.
Status Work::KeepState(const Admitted& admitted, LocalState state, std::span<const float> start,
                       training::TrainResult& result) {
  const v1::TrainingSpec& training = admitted.job.spec.training();
  if (!training.has_scaffold() && !training.local_normalization()) return OkStatus();
  if (training.local_normalization()) {
    state.normalization = NormalizationOf(*admitted.plan, start);
    Add(NormalizationOf(*admitted.plan, result.update), state.normalization);
    ClearNormalization(*admitted.plan, result.update);
    if (training.has_scaffold()) ClearNormalization(*admitted.plan, result.control_change);
  }
  if (training.has_scaffold()) {
    state.control_variate.resize(start.size(), 0.0f);
    Add(result.control_change, state.control_variate);
  }
  return store_.Propose({JobId(admitted.message.job_id()), admitted.job.spec_digest},
                        admitted.task.round, admitted.terms.task_id(), state);
}

StatusOr<training::TrainResult> Work::TrainOn(const Admitted& admitted,
                                              training::TrainRequest request) {
  std::optional<crypto::Digest> name;  // Of rows too: told when somebody asks.
  const auto name_of = [&]() -> const crypto::Digest& {
    if (!name.has_value()) name = NameOfTraining(admitted.job.spec_digest, request);
    return *name;
  };
  std::optional<training::TrainCheckpoint> kept;
  if (!checkpoints_.IsEmpty()) kept = checkpoints_.Find(name_of());
  if (kept.has_value()) {
    request.resume = &*kept;
    log::Info("training.resumed",
              {{"task", admitted.terms.task_id().value()}, {"batches_done", kept->num_batches}});
  }
  has_trained_ = true;
  Time last = parts_.clock.Now();
  Duration pause = kLeastCheckpointPause;
  if (admitted.keeps_checkpoints) {
    request.wants_checkpoint = [&] { return parts_.clock.Now() - last >= pause; };
    request.on_checkpoint = [&](const training::TrainCheckpoint& checkpoint) {
      const Time begin = parts_.clock.Now();
      if (const Status written = checkpoints_.Keep(name_of(), checkpoint); !written.ok()) {
        log::Warning("training.checkpoint_not_kept", {{"why", MessageOf(written)}});
      }
      last = parts_.clock.Now();
      pause = std::max(kLeastCheckpointPause, kTrainingPerWriting * (last - begin));
    };
  }
  return parts_.trainer->Train(request);
}

WorkOutcome Work::Train(Admitted admitted, Cancellation& cancellation,
                        const WorkObserver& observer) {
  const v1::JobSpec& spec = admitted.job.spec;
  const models::GraphPlan& plan = *admitted.plan;
  const auto refuse = [&admitted](ReasonCode code, const Status& problem) {
    return Refuse(code, admitted.message, problem);
  };
  StatusOr<ParameterVector> start = Fetch(admitted, *admitted.task.model, cancellation);
  StatusOr<ParameterVector> server_variate = ParameterVector();
  if (start.ok() && admitted.task.control_variate.has_value()) {
    server_variate = Fetch(admitted, *admitted.task.control_variate, cancellation);
  }
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!start.ok()) return refuse(ReasonCode::kTaskInvalid, start.status());
  if (!server_variate.ok()) return refuse(ReasonCode::kTaskInvalid, server_variate.status());
  StatusOr<LocalState> state = LoadState(admitted, *start);
  if (!state.ok()) return refuse(CodeOfStore(state.status()), state.status());

  const PreparedExamples& examples = admitted.dataset->Prepare(MomentsOf(admitted.task, spec));
  StatusOr<std::vector<v1::MetricValue>> metrics =
      EvaluateMetrics({.trainer = *parts_.trainer,
                       .plan = plan,
                       .parameters = *start,
                       .examples = examples,
                       .terms = admitted.terms,
                       .cancelled = &cancellation.flag()});
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!metrics.ok()) return refuse(CodeOfTraining(metrics.status()), metrics.status());

  const Time begin = parts_.clock.Now();
  StatusOr<training::TrainResult> result = TrainOn(
      admitted, {.plan = plan,
                 .training = spec.training(),
                 .train = examples.train,
                 .start = *start,
                 .seed = training::SeedFor(spec.seed(), admitted.task.round, parts_.site),
                 .place = {.round = admitted.task.round, .num_rounds = spec.rounds().count()},
                 .control = {.server = *server_variate, .site = state->control_variate},
                 .on_progress = observer.on_progress,
                 .cancelled = &cancellation.flag()});
  const Duration training_time = parts_.clock.Now() - begin;
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!result.ok()) return refuse(CodeOfTraining(result.status()), result.status());
  if (const Status sound = CheckResult(*result, spec.training(), start->size()); !sound.ok()) {
    return refuse(CodeOfTraining(sound), sound);
  }
  if (const Status kept = KeepState(admitted, *std::move(state), *start, *result); !kept.ok()) {
    return refuse(CodeOfStore(kept), kept);
  }
  ParameterVector payload = std::move(result->update);
  payload.insert(payload.end(), result->control_change.begin(), result->control_change.end());
  return WorkDone{.terms = std::move(admitted.terms),
                  .report = {.payload = std::move(payload),
                             .num_examples = result->num_examples,
                             .metrics = *std::move(metrics),
                             .training_time = training_time},
                  .masking = std::move(admitted.masking)};
}

WorkOutcome Work::Personalize(Admitted admitted, Cancellation& cancellation,
                              const WorkObserver& observer) {
  const v1::JobSpec& spec = admitted.job.spec;
  const models::GraphPlan& plan = *admitted.plan;
  const auto refuse = [&admitted](ReasonCode code, const Status& problem) {
    return Refuse(code, admitted.message, problem);
  };
  StatusOr<ParameterVector> model = Fetch(admitted, *admitted.task.model, cancellation);
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!model.ok()) return refuse(ReasonCode::kTaskInvalid, model.status());
  if (const auto state = LoadState(admitted, *model); !state.ok()) {
    return refuse(CodeOfStore(state.status()), state.status());
  }

  const PreparedExamples& examples = admitted.dataset->Prepare(MomentsOf(admitted.task, spec));
  const v1::TrainingSpec training = TrainingOf(ReportKind::kPersonalMetrics, spec);
  const Time begin = parts_.clock.Now();
  // A schedule runs its course within this training: those of the rounds have ended.
  const StatusOr<training::TrainResult> result =
      TrainOn(admitted, {.plan = plan,
                         .training = training,
                         .train = examples.train,
                         .start = *model,
                         .seed = training::SeedFor(spec.seed(), admitted.task.round, parts_.site),
                         .on_progress = observer.on_progress,
                         .cancelled = &cancellation.flag()});
  const Duration training_time = parts_.clock.Now() - begin;
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!result.ok()) return refuse(CodeOfTraining(result.status()), result.status());
  if (const Status sound = CheckResult(*result, training, model->size()); !sound.ok()) {
    return refuse(CodeOfTraining(sound), sound);
  }
  Add(result->update, *model);
  StatusOr<std::vector<v1::MetricValue>> metrics =
      EvaluateMetrics({.trainer = *parts_.trainer,
                       .plan = plan,
                       .parameters = *model,
                       .examples = examples,
                       .terms = admitted.terms,
                       .cancelled = &cancellation.flag()});
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!metrics.ok()) return refuse(CodeOfTraining(metrics.status()), metrics.status());

  const StatusOr<std::filesystem::path> kept =
      store_.SaveModel({JobId(admitted.message.job_id()), admitted.job.spec_digest}, plan.layout(),
                       *model, {{"format", "pt"}, {"job", admitted.message.job_id()}});
  if (!kept.ok()) return refuse(CodeOfStore(kept.status()), kept.status());
  log::Info("model.personalized", {{"job", admitted.message.job_id()}, {"file", kept->string()}});
  std::vector<double> payload = ToPairs(*metrics, admitted.terms);
  return WorkDone{.terms = std::move(admitted.terms),
                  .report = {.payload = std::move(payload),
                             .num_examples = result->num_examples,
                             .training_time = training_time},
                  .masking = std::move(admitted.masking)};
}

}  // namespace chorale::site_agent
