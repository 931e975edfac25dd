#include "jobs/job_spec.h"

#include <cstdint>
#include <string>

#include "core/config/yaml.h"
#include "core/ids.h"
#include "core/storage/file.h"
#include "data/dataset.h"
#include "models/model.h"
#include "training/local_trainer.h"

namespace chorale::jobs {
namespace {

constexpr std::uint64_t kMaxJobFileBytes = 1u << 20;
constexpr std::int64_t kMaxDeadlineSeconds = 7 * 24 * 3600;
constexpr std::uint32_t kMaxRounds = 10000;
constexpr std::uint32_t kMaxSites = 1024;
constexpr std::uint32_t kMaxAbandoned = 1000;

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

Status ValidateAggregation(const v1::AggregationSpec& aggregation) {
  switch (aggregation.rule_case()) {
    case v1::AggregationSpec::kFedavg:
      switch (aggregation.fedavg().weighting()) {
        case v1::WEIGHTING_EXAMPLES:
        case v1::WEIGHTING_UNIFORM:
          return OkStatus();
        default:
          return config::FieldError("aggregation.fedavg.weighting",
                                    "must be examples or uniform, got " +
                                        std::to_string(aggregation.fedavg().weighting()));
      }
    case v1::AggregationSpec::RULE_NOT_SET:
      break;
  }
  return config::FieldError("aggregation", "must name a rule: fedavg");
}

}  // namespace

Status Validate(const v1::JobSpec& spec) {
  CHORALE_RETURN_IF_ERROR(CheckName("name", spec.name()));
  CHORALE_RETURN_IF_ERROR(CheckName("dataset", spec.dataset()));
  CHORALE_RETURN_IF_ERROR(data::Validate(spec.data(), "data"));
  CHORALE_RETURN_IF_ERROR(models::Validate(spec.model(), "model"));
  CHORALE_RETURN_IF_ERROR(training::Validate(spec.training(), "training"));
  CHORALE_RETURN_IF_ERROR(ValidateRounds(spec.rounds()));
  return ValidateAggregation(spec.aggregation());
}

StatusOr<v1::JobSpec> LoadJobFile(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(const std::string text, storage::ReadFile(path, kMaxJobFileBytes));
  v1::JobSpec spec;
  CHORALE_RETURN_IF_ERROR(config::ParseYaml(text, path.string(), spec));
  if (const Status valid = Validate(spec); !valid.ok()) {
    return config::Locate(valid, text, path.string());
  }
  return spec;
}

StatusOr<ParameterLayout> LayoutOf(const v1::JobSpec& spec) {
  return models::LayoutOf(spec.model(), data::NumInputs(spec.data()));
}

bool NeedsPreparation(const v1::JobSpec& spec) {
  return spec.data().standardization() == v1::STANDARDIZATION_FEDERATED &&
         data::NumNumericFeatures(spec.data()) > 0;
}

}  // namespace chorale::jobs
