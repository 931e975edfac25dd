#include "jobs/job_spec.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/config/yaml.h"
#include "core/crypto/digest.h"
#include "core/ids.h"
#include "core/storage/file.h"
#include "data/data_spec.h"
#include "data/preparation.h"
#include "jobs/algorithm_spec.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "models/model.h"
#include "training/local_trainer.h"
#include "training/newton_sums.h"

namespace chorale::jobs {
namespace {

constexpr std::uint64_t kMaxJobFileBytes = 1u << 20;
constexpr std::int64_t kMaxDeadlineSeconds = 7 * 24 * 3600;
constexpr std::uint32_t kMaxRounds = 10000;
constexpr std::uint32_t kMaxSites = 1024;
constexpr std::uint32_t kMaxAbandoned = 1000;
constexpr std::uint32_t kMaxPatience = 1000;
constexpr std::uint32_t kMaxPersonalEpochs = 1000;
constexpr std::size_t kMaxPathChars = 4096;

Status CheckName(std::string_view field, std::string_view name) {
  if (IsValidName(name)) return OkStatus();
  return config::FieldError(field,
                            "must be 1 to 64 characters of [a-z0-9-] that begin and end with a "
                            "letter or digit, got " +
                                std::to_string(name.size()) + " characters of another form");
}

Status CheckRange(std::string_view field, std::uint32_t value, std::uint32_t low,
                  std::uint32_t high) {
  if (value >= low && value <= high) return OkStatus();
  return config::FieldError(field, "must be in [" + std::to_string(low) + ", " +
                                       std::to_string(high) + "], got " + std::to_string(value));
}

Status ValidateDeadline(const v1::RoundsSpec& rounds) {
  constexpr std::string_view kField = "rounds.deadline";
  if (!rounds.has_deadline()) {
    return config::FieldError(kField, "is required: a duration in [1 s, 7 days], such as 10min");
  }
  const auto& deadline = rounds.deadline();
  const bool is_normal = deadline.nanos() >= 0 && deadline.nanos() < 1'000'000'000;
  const bool is_in_range = deadline.seconds() >= 1 &&
                           (deadline.seconds() < kMaxDeadlineSeconds ||
                            (deadline.seconds() == kMaxDeadlineSeconds && deadline.nanos() == 0));
  if (is_normal && is_in_range) return OkStatus();
  return config::FieldError(kField, "must be in [1 s, 7 days], got " +
                                        std::to_string(deadline.seconds()) + " s and " +
                                        std::to_string(deadline.nanos()) + " ns");
}

Status ValidateRounds(const v1::RoundsSpec& rounds) {
  CHORALE_RETURN_IF_ERROR(CheckRange("rounds.count", rounds.count(), 1, kMaxRounds));
  CHORALE_RETURN_IF_ERROR(CheckRange("rounds.min_reports", rounds.min_reports(), 1, kMaxSites));
  if (rounds.cohort_size() != 0 &&
      (rounds.cohort_size() < rounds.min_reports() || rounds.cohort_size() > kMaxSites)) {
    return config::FieldError(
        "rounds.cohort_size",
        "must be 0 (every eligible site) or in [rounds.min_reports, " + std::to_string(kMaxSites) +
            "] = [" + std::to_string(rounds.min_reports()) + ", " + std::to_string(kMaxSites) +
            "], got " + std::to_string(rounds.cohort_size()));
  }
  CHORALE_RETURN_IF_ERROR(ValidateDeadline(rounds));
  return CheckRange("rounds.max_abandoned", rounds.max_abandoned(), 0, kMaxAbandoned);
}

// A metric that the job does not collect cannot end it.
Status ValidateEarlyStop(const v1::JobSpec& spec) {
  if (!spec.rounds().has_early_stop()) return OkStatus();
  const v1::EarlyStop& stop = spec.rounds().early_stop();
  bool is_asked = false;
  for (const v1::MetricSpec& metric : spec.training().metrics()) {
    is_asked = is_asked ||
               (metric.kind() == stop.metric().kind() && metric.split() == stop.metric().split());
  }
  const v1::PrivateMetrics& noisy = spec.privacy().metrics();
  for (const int kind : noisy.kinds()) {
    is_asked = is_asked || (kind == stop.metric().kind() && noisy.split() == stop.metric().split());
  }
  if (!is_asked) {
    return config::FieldError("rounds.early_stop.metric",
                              "must be one of training.metrics, or of privacy.metrics");
  }
  CHORALE_RETURN_IF_ERROR(
      CheckRange("rounds.early_stop.patience", stop.patience(), 1, kMaxPatience));
  if (std::isfinite(stop.min_change()) && stop.min_change() >= 0) return OkStatus();
  return config::FieldError("rounds.early_stop.min_change", "must be finite and at least 0");
}

Status ValidatePersonalization(const v1::JobSpec& spec) {
  if (!spec.has_personalization()) return OkStatus();
  if (spec.has_newton()) {
    return config::FieldError("personalization",
                              "is not possible with newton, whose solution no site trains on from");
  }
  return CheckRange("personalization.local_epochs", spec.personalization().local_epochs(), 1,
                    kMaxPersonalEpochs);
}

// How the job trains: by gradients or by newton.
Status ValidateAlgorithm(const v1::JobSpec& spec) {
  if (!spec.has_newton()) {
    CHORALE_RETURN_IF_ERROR(training::Validate(spec.training(), "training"));
    CHORALE_RETURN_IF_ERROR(ValidateAggregation(spec.aggregation(), spec.rounds()));
    if (!spec.training().has_scaffold() || spec.aggregation().has_fedavg()) return OkStatus();
    return config::FieldError("aggregation",
                              "must be fedavg under training.scaffold, which has its own rule for "
                              "the control variate beside it");
  }
  for (const auto& [name, is_set] : {std::pair{"training", spec.has_training()},
                                     std::pair{"aggregation", spec.has_aggregation()},
                                     std::pair{"initial_model", spec.has_initial_model()}}) {
    if (!is_set) continue;
    return config::FieldError(name,
                              "must be left out with newton, which starts at zeros and "
                              "solves for the coefficients itself");
  }
  if (!training::NewtonKindOf(spec.model()).has_value()) {
    return config::FieldError("newton",
                              "solves logistic_regression, linear_regression, poisson_regression "
                              "and cox, not " +
                                  models::KindName(spec.model()));
  }
  return ValidateNewton(spec.newton(), spec.rounds());
}

// Sums that come in one report are checked as a whole.
Status ValidatePreparation(const v1::JobSpec& spec) {
  if (!NeedsPreparation(spec)) return OkStatus();
  const std::uint64_t bytes = data::PreparationSize(spec.data()) * sizeof(double);
  if (bytes <= kMaxPreparationBytes) return OkStatus();
  return config::FieldError(
      "data.features",
      "must give a preparation report of at most " + std::to_string(kMaxPreparationBytes >> 20) +
          " MiB, got " + std::to_string(bytes >> 20) +
          " MiB: medians and federated_robust take a histogram of 64 KiB for each numeric feature");
}

models::TargetKind KindOf(const v1::DataSpec& spec) {
  switch (data::TargetKindOf(spec)) {
    case data::TargetKind::kBinary:
      return models::TargetKind::kBinary;
    case data::TargetKind::kClass:
      return models::TargetKind::kClass;
    case data::TargetKind::kNumber:
      return models::TargetKind::kNumber;
    case data::TargetKind::kSurvival:
      return models::TargetKind::kSurvival;
  }
  return models::TargetKind::kBinary;
}

std::string_view FieldOf(models::TargetKind kind) {
  switch (kind) {
    case models::TargetKind::kBinary:
      return "positive alone";
    case models::TargetKind::kClass:
      return "classes";
    case models::TargetKind::kNumber:
      return "numeric";
    case models::TargetKind::kSurvival:
      return "positive and survival";
    case models::TargetKind::kMask:
      return "a mask for each example";
  }
  return "";
}

Status ValidateTarget(const v1::DataSpec& spec, const models::GraphPlan& plan) {
  const models::TargetKind kind = KindOf(spec);
  if (kind != plan.target_kind()) {
    return config::FieldError("data.target",
                              "must have " + std::string(FieldOf(plan.target_kind())) +
                                  " for the loss of this model, got " + std::string(FieldOf(kind)));
  }
  if (plan.num_targets() != data::NumTargets(spec)) {
    return config::FieldError("data.target",
                              "must be as many numbers as the loss of this model takes, " +
                                  std::to_string(plan.num_targets()) + ", got " +
                                  std::to_string(data::NumTargets(spec)));
  }
  const auto num_classes = static_cast<std::uint64_t>(spec.target().classes_size());
  if (kind != models::TargetKind::kClass || num_classes == plan.num_outputs()) return OkStatus();
  return config::FieldError("data.target.classes",
                            "must be as many as the loss of this model has, " +
                                std::to_string(plan.num_outputs()) + ", got " +
                                std::to_string(num_classes));
}

Status ValidateInitialModel(const v1::JobSpec& spec, const models::GraphPlan& plan) {
  if (!spec.has_initial_model()) return OkStatus();
  const v1::InitialModel& initial = spec.initial_model();
  if (initial.file().size() > kMaxPathChars) {
    return config::FieldError("initial_model.file", "must have at most 4096 characters, got " +
                                                        std::to_string(initial.file().size()));
  }
  if (!initial.has_weights()) {
    if (!initial.file().empty()) return OkStatus();
    return config::FieldError("initial_model.file", "is required: a safetensors file");
  }
  if (initial.weights().digest().size() != crypto::kDigestBytes) {
    return config::FieldError(
        "initial_model.weights.digest",
        "must have 32 bytes, got " + std::to_string(initial.weights().digest().size()));
  }
  if (initial.weights().size_bytes() == plan.layout().size_bytes()) return OkStatus();
  return config::FieldError("initial_model.weights.size_bytes",
                            "must be those of the model, " +
                                std::to_string(plan.layout().size_bytes()) + ", got " +
                                std::to_string(initial.weights().size_bytes()));
}

// An optimizer at the server steps past what the sites report: a running variance would end up
// below zero.
Status ValidateBatchNorm(const v1::JobSpec& spec, const models::GraphPlan& plan) {
  const v1::AggregationSpec& rule = spec.aggregation();
  const bool has_optimizer =
      rule.has_fedavgm() || rule.has_fedadam() || rule.has_fedyogi() || rule.has_fedadagrad();
  if (!plan.has_batch_norm() || !has_optimizer || spec.training().local_normalization()) {
    return OkStatus();
  }
  return config::FieldError("aggregation",
                            "must not be an optimizer at the server (fedavgm, fedadam, fedyogi, "
                            "fedadagrad) for a model with batch norm, whose running variances it "
                            "would drive below 0; set training.local_normalization, or use group "
                            "norm");
}

// What shows only when the model's graph is known.
Status ValidateTogether(const v1::JobSpec& spec) {
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan plan, PlanOf(spec));
  if (plan.layout().num_parameters() == 0) {
    return config::FieldError("model", "must have parameters: there is nothing to train");
  }
  CHORALE_RETURN_IF_ERROR(ValidateTarget(spec.data(), plan));
  CHORALE_RETURN_IF_ERROR(ValidatePrivacy(spec, plan));
  if (!spec.has_newton()) {
    CHORALE_RETURN_IF_ERROR(training::ValidateTogether(spec.training(), plan, "training"));
    CHORALE_RETURN_IF_ERROR(ValidateBatchNorm(spec, plan));
    return ValidateInitialModel(spec, plan);
  }
  const std::uint64_t num_coefficients = plan.layout().num_parameters();
  if (num_coefficients <= kMaxCoefficients) return OkStatus();
  return config::FieldError("newton", "solves for at most " + std::to_string(kMaxCoefficients) +
                                          " coefficients, the model has " +
                                          std::to_string(num_coefficients));
}

}  // namespace

Status Validate(const v1::JobSpec& spec) {
  CHORALE_RETURN_IF_ERROR(CheckName("name", spec.name()));
  CHORALE_RETURN_IF_ERROR(CheckName("dataset", spec.dataset()));
  CHORALE_RETURN_IF_ERROR(data::Validate(spec.data(), "data"));
  CHORALE_RETURN_IF_ERROR(models::Validate(spec.model(), "model"));
  CHORALE_RETURN_IF_ERROR(ValidateRounds(spec.rounds()));
  CHORALE_RETURN_IF_ERROR(ValidateAlgorithm(spec));
  CHORALE_RETURN_IF_ERROR(ValidateEarlyStop(spec));
  CHORALE_RETURN_IF_ERROR(ValidatePersonalization(spec));
  CHORALE_RETURN_IF_ERROR(ValidatePreparation(spec));
  CHORALE_RETURN_IF_ERROR(ValidateMasking(spec));
  return ValidateTogether(spec);
}

StatusOr<v1::JobSpec> LoadJobFile(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(const std::string text, storage::ReadFile(path, kMaxJobFileBytes));
  v1::JobSpec spec;
  CHORALE_RETURN_IF_ERROR(config::ParseYaml(text, path.string(), spec));
  Status valid = Validate(spec);
  if (valid.ok() && spec.initial_model().has_weights()) {
    valid = config::FieldError("initial_model.weights",
                               "is filled in on submission: give initial_model.file");
  }
  if (!valid.ok()) return config::Locate(valid, text, path.string());
  return spec;
}

StatusOr<models::GraphPlan> PlanOf(const v1::JobSpec& spec) {
  return models::PlanOf(spec.model(), data::NumInputs(spec.data()));
}

std::uint64_t BytesPerParameter(const v1::JobSpec& spec) {
  return spec.has_newton() ? sizeof(double) : sizeof(float);
}

bool NeedsPreparation(const v1::JobSpec& spec) {
  return data::IsFederated(spec.data().standardization()) &&
         data::NumNumericFeatures(spec.data()) > 0;
}

}  // namespace chorale::jobs
