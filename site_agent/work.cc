#include "site_agent/work.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "core/log.h"
#include "core/parameters.h"
#include "core/storage/file.h"
#include "data/data_spec.h"
#include "data/preparation.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "site_agent/model_fetch.h"
#include "training/clipped_sum.h"
#include "training/newton_sums.h"

namespace chorale::site_agent {
namespace {

constexpr std::uint64_t kRoomForRows = 16ull << 20;

ReasonCode CodeOfVerification(const Status& status) {
  return status.code() == StatusCode::kInvalidArgument ? ReasonCode::kJobInvalid
                                                       : ReasonCode::kSignatureInvalid;
}

// Additions that stay at the largest number instead of passing it.
std::uint64_t Sum(std::initializer_list<std::uint64_t> numbers) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t sum = 0;
  for (const std::uint64_t number : numbers) sum = number > kMax - sum ? kMax : sum + number;
  return sum;
}

bool Trains(ReportKind kind) {
  return kind == ReportKind::kUpdate || kind == ReportKind::kPersonalMetrics;
}

// What a task holds in memory beside training itself, from above. Nothing overflows: a graph has at
// most 2^36 parameters, and newton few of them.
std::uint64_t MemoryBesideTraining(ReportKind kind, const PlannedJob& planned,
                                   const data::Dataset& dataset) {
  const v1::JobSpec& spec = planned.job.spec;
  const ParameterLayout& layout = planned.plan.layout();
  const std::uint64_t examples = dataset.ExamplesBytes();
  switch (kind) {
    case ReportKind::kPreparation:
      return data::PreparationSize(spec.data()) * sizeof(double);
    case ReportKind::kNewtonSums: {
      // Double precision takes twice as much; Cox has a copy in order of time. The Hessian is added
      // up as a square, and told as half of it.
      const std::uint64_t exact = Sum({examples, examples});
      // Of a private sum: noise, sum, a patient's vector and the same in whole numbers.
      const std::uint64_t num_sums = training::NewtonSumsSize(layout.num_parameters());
      return Sum({exact, spec.model().has_cox() ? exact : 0,
                  (jobs::IsPrivate(spec) ? 8 : 4) * sizeof(double) * num_sums});
    }
    case ReportKind::kUpdate:
    case ReportKind::kPersonalMetrics:
      // Start and update; a copy to keep or to report; three control variates.
      // Of a private step: noise and sum as 64-bit numbers; where clipping adapts, one more vector
      // of them; rows by record are a copy.
      if (jobs::IsPrivate(spec)) {
        const std::uint64_t vectors = jobs::HasAdaptiveClipping(spec.privacy()) ? 9 : 7;
        return Sum({examples, examples, vectors * layout.size_bytes()});
      }
      return Sum({examples, (spec.training().has_scaffold() ? 6 : 3) * layout.size_bytes()});
  }
  return std::numeric_limits<std::uint64_t>::max();
}

// Rows of each patient.
std::vector<std::uint64_t> NumRowsByPatient(std::span<const std::uint32_t> patients) {
  std::vector<std::uint64_t> rows;
  for (const std::uint32_t patient : patients) {
    if (patient >= rows.size()) rows.resize(std::size_t{patient} + 1);
    ++rows[patient];
  }
  return rows;
}

DatasetFacts FactsOf(const data::Dataset& dataset) {
  const std::vector<std::uint64_t> rows = NumRowsByPatient(dataset.training_patients());
  return {.num_training_rows = dataset.num_training_rows(),
          .num_test_rows = dataset.num_test_rows(),
          .num_training_patients = std::max<std::uint64_t>(rows.size(), 1)};
}

}  // namespace

Refusal Refuse(ReasonCode code, const v1::Task& task, const Status& problem) {
  log::Warning("task.problem",
               {{"task", task.task_id()}, {"code", NameOf(code)}, {"problem", MessageOf(problem)}});
  return Refusal{.code = code};
}

ReasonCode CodeOfTraining(const Status& status) {
  switch (status.code()) {
    case StatusCode::kFailedPrecondition:
      return ReasonCode::kTrainingDiverged;
    case StatusCode::kResourceExhausted:
      return ReasonCode::kResourceLimit;
    case StatusCode::kInvalidArgument:
      // The job is valid and its sizes fit: what is left are targets that the model cannot have.
      return ReasonCode::kDataInvalid;
    default:
      return ReasonCode::kInternalError;
  }
}

std::optional<std::vector<data::Moments>> MomentsOf(const CheckedTask& task,
                                                    const v1::JobSpec& job) {
  if (!data::IsFederated(job.data().standardization())) return std::nullopt;
  return task.moments;
}

v1::TrainingSpec TrainingOf(ReportKind kind, const v1::JobSpec& job) {
  v1::TrainingSpec training = job.training();
  if (kind == ReportKind::kPersonalMetrics) {
    // After the last round the site trains for itself: nothing holds it to the federation.
    training.set_local_epochs(job.personalization().local_epochs());
    training.clear_drift_control();
  }
  return training;
}

Work::Work(WorkParts parts)
    : parts_(std::move(parts)),
      jobs_(parts_.root),
      datasets_(parts_.config_directory),
      store_(parts_.config.state_directory(), parts_.journal),
      checkpoints_(parts_.config.state_directory()) {}

void Work::ForgetProgress() {
  if (has_trained_) checkpoints_.Remove();
}

WorkOutcome Work::Run(const v1::Task& task, Cancellation& cancellation,
                      const WorkObserver& observer) {
  has_trained_ = false;
  try {
    if (IsStep(task)) return TakeStep(task, cancellation, observer);
    std::variant<Admitted, Refusal> admission = Admit(task);
    if (auto* refusal = std::get_if<Refusal>(&admission)) return *std::move(refusal);
    if (cancellation.is_cancelled()) return WorkWasCancelled{};
    observer.on_admitted();
    Admitted admitted = std::get<Admitted>(std::move(admission));
    switch (admitted.terms.kind()) {
      case ReportKind::kPreparation:
        return admitted.terms.is_private() ? SumColumnsPrivately(std::move(admitted), cancellation)
                                           : SumColumns(std::move(admitted));
      case ReportKind::kNewtonSums:
        return admitted.terms.is_private() ? SumNewtonPrivately(std::move(admitted), cancellation)
                                           : SumNewton(std::move(admitted), cancellation);
      case ReportKind::kUpdate:
        return admitted.terms.is_private()
                   ? TrainPrivately(std::move(admitted), cancellation, observer)
                   : Train(std::move(admitted), cancellation, observer);
      case ReportKind::kPersonalMetrics:
        return Personalize(std::move(admitted), cancellation, observer);
    }
  } catch (const std::bad_alloc&) {
    // The policy bounds a model's size; this machine may have less memory than its policy allows.
    return Refuse(ReasonCode::kResourceLimit, task, ResourceExhausted("out of memory"));
  }
  return Refusal{.code = ReasonCode::kInternalError};
}

std::variant<Work::Admitted, Refusal> Work::Admit(const v1::Task& task) {
  std::variant<KnownJob, Refusal> known = Know(task);
  if (auto* refusal = std::get_if<Refusal>(&known)) return *std::move(refusal);
  auto& [job, plan] = std::get<KnownJob>(known);
  StatusOr<CheckedTask> checked = CheckTask(task, job.spec, *plan);
  if (!checked.ok()) return Refuse(ReasonCode::kTaskInvalid, task, checked.status());
  const v1::DatasetConfig* dataset = nullptr;
  if (std::optional<Refusal> refusal = RefusalOf(task, std::get<KnownJob>(known), dataset)) {
    return *std::move(refusal);
  }
  if (Trains(checked->facts.kind) && parts_.trainer == nullptr) {
    return Refusal{.code = ReasonCode::kTrainerUnavailable};
  }
  if (std::optional<Refusal> refusal = Reserve(task, std::get<KnownJob>(known), *dataset)) {
    return *std::move(refusal);
  }
  const auto loaded = datasets_.Load(*dataset, job.spec.data());
  if (const auto* code = std::get_if<ReasonCode>(&loaded)) return Refusal{.code = *code};
  LoadedDataset* const table = std::get<LoadedDataset*>(loaded);
  Decision decision =
      Decide({job, *plan}, checked->facts, parts_.config.policy(), FactsOf(table->dataset()));
  if (auto* refusal = std::get_if<Refusal>(&decision)) return *std::move(refusal);
  Admitted admitted{.message = task,
                    .job = std::move(job),
                    .plan = std::move(plan),
                    .task = *std::move(checked),
                    .terms = std::get<ReleaseTerms>(std::move(decision)),
                    .config = *dataset,
                    .dataset = table};
  if (const Status fits = CheckDisk(admitted); !fits.ok()) {
    return Refuse(ReasonCode::kResourceLimit, task, fits);
  }
  if (const Status fits = CheckMemory(admitted); !fits.ok()) {
    return Refuse(ReasonCode::kResourceLimit, task, fits);
  }
  if (!admitted.terms.is_masked()) return admitted;
  StatusOr<Masking> masking = OpenRound(admitted);
  if (masking.ok()) {
    admitted.masking = *std::move(masking);
    return admitted;
  }
  const std::optional<Refusal> refusal = RefusalOfSecureAggregation(masking.status());
  const ReasonCode code = refusal.has_value() ? refusal->code : ReasonCode::kInternalError;
  Refusal logged = Refuse(code, task, masking.status());
  return refusal.value_or(std::move(logged));
}

std::variant<KnownJob, Refusal> Work::Know(const v1::Task& task) {
  // At every round again: certificates expire, and policies and tables change.
  const StatusOr<std::shared_ptr<const KnownJob>> job =
      jobs_.Find(task.job(), parts_.clock.WallNow());
  if (!job.ok()) return Refuse(CodeOfVerification(job.status()), task, job.status());
  return **job;
}

std::optional<Refusal> Work::RefusalOf(const v1::Task& task, const KnownJob& known,
                                       const v1::DatasetConfig*& dataset) const {
  const v1::JobSpec& spec = known.verified.spec;
  const auto found = std::ranges::find(parts_.config.datasets(), spec.dataset(),
                                       [](const v1::DatasetConfig& config) { return config.id(); });
  if (found == parts_.config.datasets().end()) {
    return Refusal{.code = ReasonCode::kDatasetUnknown, .subject = spec.dataset()};
  }
  dataset = &*found;
  if (jobs::IsMasked(spec) && parts_.sessions == nullptr) {
    return Refuse(ReasonCode::kInternalError, task,
                  FailedPrecondition("this agent has no sessions of secure aggregation"));
  }
  return RefusalBeforeData({known.verified, *known.plan}, parts_.config.policy());
}

std::optional<Refusal> Work::Reserve(const v1::Task& task, const KnownJob& known,
                                     const v1::DatasetConfig& dataset) {
  if (parts_.accounts == nullptr) {
    if (!jobs::IsPrivate(known.verified.spec) && !dataset.has_privacy()) return std::nullopt;
    return Refuse(ReasonCode::kInternalError, task,
                  FailedPrecondition("this agent has no ledger for private jobs"));
  }
  const Status reserved = parts_.accounts->Reserve({known.verified, JobId(task.job_id()), dataset});
  if (reserved.ok()) return std::nullopt;
  Refusal refusal = Refuse(CodeOfAccounts(reserved), task, reserved);
  refusal.subject = dataset.id();
  return refusal;
}

Status Work::CheckDisk(const Admitted& admitted) const {
  // The report, of at most eight bytes a parameter under a mask and twice that under SCAFFOLD, and
  // what the site keeps of the job; rows of journal and ledger.
  const std::uint64_t num_parameters = admitted.plan->layout().num_parameters();
  const bool is_newton = admitted.task.facts.kind == ReportKind::kNewtonSums;
  const std::uint64_t num_numbers =
      is_newton ? training::NewtonSumsSize(num_parameters) : 4 * num_parameters;
  const std::uint64_t needed = kRoomForRows + sizeof(std::uint64_t) * num_numbers;
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t room,
                           storage::FreeBytes(parts_.config.state_directory()));
  if (room >= needed) return OkStatus();
  return ResourceExhausted("the task may take " + std::to_string(needed >> 20) +
                           " MiB of disk; that of state_directory has " +
                           std::to_string(room >> 20) + " MiB free");
}

Status Work::CheckMemory(Admitted& admitted) {
  const std::uint64_t limit = parts_.config.max_memory_bytes();
  const ReportKind kind = admitted.task.facts.kind;
  const v1::JobSpec& spec = admitted.job.spec;
  const data::Dataset& dataset = admitted.dataset->dataset();
  std::uint64_t needed = MemoryBesideTraining(kind, {admitted.job, *admitted.plan}, dataset);
  if (Trains(kind)) {
    const std::vector<std::uint64_t> rows = NumRowsByPatient(dataset.training_patients());
    const auto threads = static_cast<int>(parts_.config.threads());
    const std::uint64_t most_rows = *std::ranges::max_element(rows);
    const std::uint64_t to_train =
        jobs::IsPrivate(spec)
            ? training::EstimateClippedMemory(
                  {.plan = *admitted.plan,
                   .num_examples = dataset.num_training_rows(),
                   .num_drawn = rows.size(),
                   .max_patient_rows = most_rows,
                   .max_physical_batch_size = spec.privacy().max_physical_batch_size(),
                   .threads = threads})
            : training::EstimateMemory(*admitted.plan, TrainingOf(kind, spec),
                                       dataset.num_training_rows(), threads, most_rows);
    const std::uint64_t to_evaluate =
        admitted.terms.metrics().empty() && admitted.terms.num_metric_sums() == 0
            ? 0
            : training::EstimateEvaluationMemory(
                  *admitted.plan, std::max(dataset.num_training_rows(), dataset.num_test_rows()),
                  threads);
    needed = Sum({needed, std::max(to_train, to_evaluate)});  // One after the other.
  }
  if (needed > limit) {
    return ResourceExhausted("the task would need about " + std::to_string(needed) +
                             " bytes of memory; max_memory_bytes allows " + std::to_string(limit));
  }
  // Parameters and what the optimizer keeps of them, and the bytes of all for the disk.
  const std::uint64_t to_keep = 6 * admitted.plan->layout().size_bytes();
  admitted.keeps_checkpoints = Sum({needed, to_keep}) <= limit;
  if (Sum({needed, datasets_.PreparedBytesBeside(*admitted.dataset)}) > limit) {
    datasets_.DropPreparedBeside(*admitted.dataset);
  }
  return OkStatus();
}

WorkOutcome Work::SumColumns(Admitted admitted) {
  std::vector<double> payload = admitted.dataset->dataset().PreparationSums();
  const std::uint64_t num_examples = admitted.terms.dataset().num_training_rows;
  return WorkDone{.terms = std::move(admitted.terms),
                  .report = {.payload = std::move(payload), .num_examples = num_examples},
                  .masking = std::move(admitted.masking)};
}

std::optional<WorkOutcome> Work::FetchNewtonStep(const Admitted& admitted,
                                                 Cancellation& cancellation, NewtonStep& step) {
  const std::optional<training::NewtonKind> kind =
      training::NewtonKindOf(admitted.job.spec.model());
  if (!kind.has_value()) {
    return Refuse(ReasonCode::kJobInvalid, admitted.message,
                  InvalidArgument("newton is not offered for this model"));
  }
  StatusOr<std::vector<double>> coefficients = FetchCoefficients(
      parts_.blobs, admitted.terms.task_id(), *admitted.task.model, parts_.random, cancellation);
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (coefficients.ok() && !AllFinite(std::span<const double>(*coefficients))) {
    coefficients = InvalidArgument("the coefficients have a number that is not finite");
  }
  if (!coefficients.ok()) {
    return Refuse(ReasonCode::kTaskInvalid, admitted.message, coefficients.status());
  }
  step = {*kind, *std::move(coefficients)};
  return std::nullopt;
}

WorkOutcome Work::SumNewton(Admitted admitted, Cancellation& cancellation) {
  NewtonStep step;
  if (auto problem = FetchNewtonStep(admitted, cancellation, step)) return *std::move(problem);

  const Time start = parts_.clock.Now();
  const data::ExactExamples& examples =
      admitted.dataset->PrepareExact(MomentsOf(admitted.task, admitted.job.spec));
  StatusOr<std::vector<double>> sums =
      training::NewtonSums(step.kind, examples, step.coefficients, &cancellation.flag());
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!sums.ok()) return Refuse(CodeOfTraining(sums.status()), admitted.message, sums.status());
  const std::uint64_t num_examples = admitted.terms.dataset().num_training_rows;
  return WorkDone{.terms = std::move(admitted.terms),
                  .report = {.payload = *std::move(sums),
                             .num_examples = num_examples,
                             .training_time = parts_.clock.Now() - start},
                  .masking = std::move(admitted.masking)};
}

}  // namespace chorale::site_agent
