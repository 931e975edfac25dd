#include "jobs/algorithm_spec.h"

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "core/config/yaml.h"
#include "jobs/field_checks.h"
#include "jobs/job_spec.h"

namespace chorale::jobs {
namespace {

constexpr double kMaxLearningRate = 100;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A number with its bounds; a bound may belong to the range or not.
struct Range {
  double low = 0;
  double high = kInfinity;
  bool has_low = true;
  bool has_high = false;
  std::string_view words;  // "in [0, 1)".
};
constexpr Range kNotNegative{.words = "finite and at least 0"};
constexpr Range kPositive{.has_low = false, .words = "finite and above 0"};
constexpr Range kBelowOne{.high = 1, .words = "in [0, 1)"};

Status CheckNumber(const std::string& field, double value, const Range& range) {
  const bool is_above = range.has_low ? value >= range.low : value > range.low;
  const bool is_below = range.has_high ? value <= range.high : value < range.high;
  if (is_above && is_below) return OkStatus();  // Neither holds for what is no number.
  return config::FieldError(field, "must be " + std::string(range.words) + ", got " + Text(value));
}

// 0 stands for a default, which is in range.
Status CheckUnlessDefault(const std::string& field, double value, const Range& range) {
  return value == 0 ? OkStatus() : CheckNumber(field, value, range);
}

Status CheckWeighting(const std::string& rule, v1::Weighting weighting) {
  switch (weighting) {
    case v1::WEIGHTING_EXAMPLES:
    case v1::WEIGHTING_UNIFORM:
      return OkStatus();
    default:
      return config::FieldError(rule + ".weighting",
                                "must be examples or uniform, got " + std::to_string(weighting));
  }
}

Status CheckServerLearningRate(const std::string& rule, double value) {
  constexpr Range kRange{.high = kMaxLearningRate,
                         .has_low = false,
                         .has_high = true,
                         .words = "above 0 and at most 100 (or left out)"};
  return CheckUnlessDefault(rule + ".learning_rate", value, kRange);
}

Status ValidateAdaptive(const std::string& rule, const v1::FedAdaptive& spec, bool has_beta2) {
  CHORALE_RETURN_IF_ERROR(CheckWeighting(rule, spec.weighting()));
  CHORALE_RETURN_IF_ERROR(CheckServerLearningRate(rule, spec.learning_rate()));
  CHORALE_RETURN_IF_ERROR(CheckNumber(rule + ".beta1", spec.beta1(), kBelowOne));
  CHORALE_RETURN_IF_ERROR(CheckNumber(rule + ".beta2", spec.beta2(), kBelowOne));
  if (!has_beta2 && spec.beta2() != 0) {
    return config::FieldError(rule + ".beta2", "is not of fedadagrad, which sums up all squares");
  }
  return CheckUnlessDefault(rule + ".tau", spec.tau(), kPositive);
}

Status ValidateCyclic(const v1::RoundsSpec& rounds) {
  if (rounds.min_reports() != 1) {
    return config::FieldError("rounds.min_reports",
                              "must be 1 under aggregation.cyclic, which asks one site a round, "
                              "got " +
                                  std::to_string(rounds.min_reports()));
  }
  if (rounds.cohort_size() == 0) return OkStatus();
  return config::FieldError(
      "rounds.cohort_size",
      "must be 0 under aggregation.cyclic, which asks one site a round, got " +
          std::to_string(rounds.cohort_size()));
}

Status ValidateTrimmedMean(const v1::TrimmedMean& spec) {
  constexpr Range kRange{.high = 0.5, .has_low = false, .words = "above 0 and below 0.5"};
  return CheckNumber("aggregation.trimmed_mean.trimmed_share", spec.trimmed_share(), kRange);
}

// Bounds that hold for the least reports hold for any.
Status ValidateMultiKrum(const v1::MultiKrum& spec, const v1::RoundsSpec& rounds) {
  const std::uint64_t byzantine = spec.byzantine();
  if (byzantine < 1) {
    return config::FieldError("aggregation.multi_krum.byzantine", "must be at least 1, got 0");
  }
  if (rounds.min_reports() < 2 * byzantine + 3) {
    return config::FieldError("rounds.min_reports",
                              "must be at least 2 * aggregation.multi_krum.byzantine + 3 = " +
                                  std::to_string(2 * byzantine + 3) + ", got " +
                                  std::to_string(rounds.min_reports()));
  }
  if (spec.selected() <= rounds.min_reports() - byzantine) return OkStatus();
  return config::FieldError("aggregation.multi_krum.selected",
                            "must be at most rounds.min_reports - byzantine = " +
                                std::to_string(rounds.min_reports() - byzantine) + ", got " +
                                std::to_string(spec.selected()));
}

}  // namespace

Status ValidateAggregation(const v1::AggregationSpec& aggregation, const v1::RoundsSpec& rounds) {
  switch (aggregation.rule_case()) {
    case v1::AggregationSpec::kFedavg:
      return CheckWeighting("aggregation.fedavg", aggregation.fedavg().weighting());
    case v1::AggregationSpec::kFedavgm: {
      const v1::FedAvgM& spec = aggregation.fedavgm();
      CHORALE_RETURN_IF_ERROR(CheckWeighting("aggregation.fedavgm", spec.weighting()));
      CHORALE_RETURN_IF_ERROR(CheckServerLearningRate("aggregation.fedavgm", spec.learning_rate()));
      return CheckNumber("aggregation.fedavgm.momentum", spec.momentum(), kBelowOne);
    }
    case v1::AggregationSpec::kFedadam:
      return ValidateAdaptive("aggregation.fedadam", aggregation.fedadam(), true);
    case v1::AggregationSpec::kFedyogi:
      return ValidateAdaptive("aggregation.fedyogi", aggregation.fedyogi(), true);
    case v1::AggregationSpec::kFedadagrad:
      return ValidateAdaptive("aggregation.fedadagrad", aggregation.fedadagrad(), false);
    case v1::AggregationSpec::kCyclic:
      return ValidateCyclic(rounds);
    case v1::AggregationSpec::kMedian:
      return OkStatus();
    case v1::AggregationSpec::kTrimmedMean:
      return ValidateTrimmedMean(aggregation.trimmed_mean());
    case v1::AggregationSpec::kMultiKrum:
      return ValidateMultiKrum(aggregation.multi_krum(), rounds);
    case v1::AggregationSpec::kNormBound:
      CHORALE_RETURN_IF_ERROR(
          CheckWeighting("aggregation.norm_bound", aggregation.norm_bound().weighting()));
      return CheckNumber("aggregation.norm_bound.max_norm", aggregation.norm_bound().max_norm(),
                         kPositive);
    case v1::AggregationSpec::RULE_NOT_SET:
      break;
  }
  return config::FieldError("aggregation",
                            "must name a rule: fedavg, fedavgm, fedadam, fedyogi, fedadagrad, "
                            "cyclic, median, trimmed_mean, multi_krum or norm_bound");
}

Status ValidateNewton(const v1::NewtonSpec& newton, const v1::RoundsSpec& rounds) {
  constexpr Range kDamping{.high = 1,
                           .has_low = false,
                           .has_high = true,
                           .words = "above 0 and at most 1 (or left out)"};
  constexpr Range kTolerance{
      .low = 1e-14, .high = 1, .has_high = true, .words = "in [1e-14, 1] (or left out)"};
  CHORALE_RETURN_IF_ERROR(CheckNumber("newton.l2_penalty", newton.l2_penalty(), kNotNegative));
  CHORALE_RETURN_IF_ERROR(CheckUnlessDefault("newton.damping", newton.damping(), kDamping));
  CHORALE_RETURN_IF_ERROR(CheckUnlessDefault("newton.tolerance", newton.tolerance(), kTolerance));
  if (rounds.cohort_size() == 0) return OkStatus();
  return config::FieldError("rounds.cohort_size",
                            "must be 0 under newton, whose steps are over the same sites, got " +
                                std::to_string(rounds.cohort_size()));
}

// ---------------------------------------------------------------------------- defaults

namespace {

void FillIn(v1::FedAdaptive& spec, bool has_beta2) {
  if (spec.learning_rate() == 0) spec.set_learning_rate(0.01);
  if (spec.beta1() == 0) spec.set_beta1(0.9);
  if (has_beta2 && spec.beta2() == 0) spec.set_beta2(0.99);
  if (spec.tau() == 0) spec.set_tau(0.001);
}

}  // namespace

v1::AggregationSpec WithDefaults(v1::AggregationSpec aggregation) {
  switch (aggregation.rule_case()) {
    case v1::AggregationSpec::kFedavgm:
      if (aggregation.fedavgm().learning_rate() == 0) {
        aggregation.mutable_fedavgm()->set_learning_rate(1);
      }
      break;
    case v1::AggregationSpec::kFedadam:
      FillIn(*aggregation.mutable_fedadam(), true);
      break;
    case v1::AggregationSpec::kFedyogi:
      FillIn(*aggregation.mutable_fedyogi(), true);
      break;
    case v1::AggregationSpec::kFedadagrad:
      FillIn(*aggregation.mutable_fedadagrad(), false);
      break;
    case v1::AggregationSpec::kFedavg:
    case v1::AggregationSpec::kCyclic:
    case v1::AggregationSpec::kMedian:
    case v1::AggregationSpec::kTrimmedMean:
    case v1::AggregationSpec::kMultiKrum:
    case v1::AggregationSpec::kNormBound:
    case v1::AggregationSpec::RULE_NOT_SET:
      break;
  }
  return aggregation;
}

v1::NewtonSpec WithDefaults(v1::NewtonSpec newton) {
  if (newton.damping() == 0) newton.set_damping(1);
  if (newton.tolerance() == 0) newton.set_tolerance(1e-10);
  return newton;
}

v1::Weighting WeightingOf(const v1::AggregationSpec& aggregation) {
  switch (aggregation.rule_case()) {
    case v1::AggregationSpec::kFedavg:
      return aggregation.fedavg().weighting();
    case v1::AggregationSpec::kFedavgm:
      return aggregation.fedavgm().weighting();
    case v1::AggregationSpec::kFedadam:
      return aggregation.fedadam().weighting();
    case v1::AggregationSpec::kFedyogi:
      return aggregation.fedyogi().weighting();
    case v1::AggregationSpec::kFedadagrad:
      return aggregation.fedadagrad().weighting();
    default:
      return v1::WEIGHTING_UNIFORM;
  }
}

}  // namespace chorale::jobs
