#include "jobs/privacy_spec.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "core/config/yaml.h"
#include "data/data_spec.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/algorithm_spec.h"
#include "jobs/field_checks.h"
#include "jobs/masking.h"
#include "jobs/noisy_sum.h"
#include "jobs/private_metrics.h"
#include "jobs/private_newton.h"
#include "jobs/private_preparation.h"
#include "privacy/calibration.h"
#include "training/clipped_sum.h"

namespace chorale::jobs {
namespace {

constexpr double kMostEpsilon = 1000;
constexpr double kLeastDelta = 1e-12;
constexpr double kMostDelta = 0.1;
constexpr double kLeastNorm = 1e-6;
constexpr double kMostNorm = 1e6;
constexpr double kLeastNoise = 0.01;
constexpr double kMostNoise = 1e6;
constexpr double kLeastInflation = 1.00001;
constexpr double kMostInflation = 1.1;
constexpr std::uint64_t kMostPatients = std::uint64_t{1} << 40;
constexpr std::uint32_t kMostSpareRounds = 10000;
constexpr std::uint32_t kRoundsForASpareOne = 20;
constexpr int kMostOrder = 1024;
constexpr int kLastDenseOrder = 64;
constexpr double kDefaultMetricsShare = 0.2;
constexpr double kDefaultPreparationShare = 0.1;

Status CheckEnums(const v1::PrivacySpec& privacy) {
  for (const auto& [field, is_valid] :
       {std::pair{"privacy_unit", v1::PrivacyUnit_IsValid(privacy.privacy_unit())},
        std::pair{"neighboring_relation",
                  v1::NeighboringRelation_IsValid(privacy.neighboring_relation())},
        std::pair{"clipping", v1::Clipping_IsValid(privacy.clipping())},
        std::pair{"grad_sample_mode", v1::GradSampleMode_IsValid(privacy.grad_sample_mode())},
        std::pair{"encoding", v1::GridEncoding_IsValid(privacy.encoding())}}) {
    if (!is_valid) return config::FieldError("privacy." + std::string(field), "is unknown here");
  }
  const bool is_verified = privacy.encoding() != v1::GRID_ENCODING_FAST;
  if (!is_verified || privacy.grad_sample_mode() != v1::GRAD_SAMPLE_MODE_BK) return OkStatus();
  return config::FieldError("privacy.grad_sample_mode",
                            "must be auto or micro with encoding verified, which looks at every "
                            "patient's gradient; or set encoding: fast");
}

Status CheckNumbers(const v1::JobSpec& spec) {
  const v1::PrivacySpec& privacy = spec.privacy();
  if (!(privacy.target_epsilon() > 0 && privacy.target_epsilon() <= kMostEpsilon)) {
    return config::FieldError("privacy.target_epsilon", "must be above 0 and at most 1000, got " +
                                                            Text(privacy.target_epsilon()));
  }
  CHORALE_RETURN_IF_ERROR(
      CheckRange("privacy.target_delta", privacy.target_delta(), kLeastDelta, kMostDelta));
  if (!spec.has_newton() && !(privacy.sample_rate() > 0 && privacy.sample_rate() <= 1)) {
    return config::FieldError("privacy.sample_rate",
                              "must be above 0 and at most 1, got " + Text(privacy.sample_rate()));
  }
  if (privacy.spare_rounds() > kMostSpareRounds) {
    return config::FieldError("privacy.spare_rounds", "must be at most 10000, got " +
                                                          std::to_string(privacy.spare_rounds()));
  }
  CHORALE_RETURN_IF_ERROR(
      CheckRange("privacy.max_grad_norm", privacy.max_grad_norm(), kLeastNorm, kMostNorm));
  if (privacy.expected_patients() < 1 || privacy.expected_patients() > kMostPatients) {
    return config::FieldError(
        "privacy.expected_patients",
        "must be in [1, 2^40], got " + std::to_string(privacy.expected_patients()));
  }
  if (privacy.target_delta() * static_cast<double>(privacy.expected_patients()) >= 1) {
    return config::FieldError("privacy.target_delta",
                              "must be below 1 / expected_patients: a mechanism that publishes one "
                              "patient at random has that delta, got " +
                                  Text(privacy.target_delta()));
  }
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault("privacy.noise_multiplier",
                                              privacy.noise_multiplier(), kLeastNoise, kMostNoise));
  return CheckRangeOrDefault("privacy.grid_inflation", privacy.grid_inflation(), kLeastInflation,
                             kMostInflation);
}

// Parts of a job that would tell of rows without noise, or that a step of DP-SGD does not have.
Status CheckTraining(const v1::JobSpec& spec) {
  const v1::TrainingSpec& training = spec.training();
  const bool is_distributed = spec.privacy().has_distributed();
  const auto refuse = [](std::string_view field, std::string_view text) {
    return config::FieldError(field, std::string(text));
  };
  if (!training.metrics().empty()) {
    return refuse("training.metrics",
                  "must be left out of a private job: a loss or an accuracy is computed from rows "
                  "and would leave without noise; privacy.metrics has noise");
  }
  if (training.batch_size() != 0) {
    return refuse("training.batch_size",
                  "must be left out of a private job: privacy.sample_rate says how many patients a "
                  "step takes");
  }
  if (training.accumulate_batches() > 1 || training.max_gradient_norm() != 0 ||
      training.mixed_precision()) {
    return refuse("training",
                  "must have no accumulate_batches, max_gradient_norm or mixed_precision in a "
                  "private job: privacy.max_grad_norm bounds every patient's gradient");
  }
  if (training.has_scaffold()) {
    return refuse("training.scaffold",
                  "is not possible in a private job: control variates would leave without noise");
  }
  if (training.local_normalization()) {
    return refuse("training.local_normalization",
                  "is not possible in a private job: norm layers would be trained without noise");
  }
  if (training.local_epochs() != 0) {
    return refuse("training.local_epochs",
                  "must be local_steps in a private job: the number of steps may not depend on the "
                  "number of rows");
  }
  if (!is_distributed) return OkStatus();
  if (training.local_steps() != 1) {
    return refuse("training.local_steps", "must be 1 with privacy.distributed: a round is a step");
  }
  if (!training.optimizer().has_sgd() || training.optimizer().sgd().momentum() != 0) {
    return refuse("training.optimizer",
                  "must be sgd without momentum with privacy.distributed: set momentum or an "
                  "adaptive rule in aggregation, where the sum is");
  }
  if (training.l2_penalty() == 0 && !training.has_schedule() && !training.has_fedprox()) {
    return OkStatus();
  }
  return refuse("training",
                "must have no l2_penalty, schedule or fedprox with privacy.distributed: a site "
                "reports a sum of gradients and nothing else");
}

// Of DP-SGD.
Status ValidateSteps(const v1::JobSpec& spec, const models::GraphPlan& plan) {
  if (spec.privacy().has_newton()) {
    return config::FieldError("privacy.newton", "is of a job with newton");
  }
  CHORALE_RETURN_IF_ERROR(training::ValidatePrivate(plan));
  CHORALE_RETURN_IF_ERROR(ValidateAdaptiveClipping(spec.privacy()));
  CHORALE_RETURN_IF_ERROR(CheckTraining(spec));
  return GridOf(spec.privacy(), plan.layout().num_parameters()).status();
}

Status CheckRest(const v1::JobSpec& spec) {
  if (!IsMasked(spec)) {
    return config::FieldError("secure_aggregation",
                              "must be masking in a private job: noise and masks go together");
  }
  // Rules that take no mean look at single updates, which masking refuses.
  if (WeightingOf(spec.aggregation()) != v1::WEIGHTING_UNIFORM) {
    return config::FieldError(
        "aggregation",
        "must be fedavg or an optimizer at the server, with weighting: "
        "uniform, in a private job: the number of rows at a site is a secret");
  }
  if (spec.has_personalization()) {
    return config::FieldError("personalization",
                              "is not possible in a private job: its metrics would leave without "
                              "noise");
  }
  const v1::Standardization standardization = spec.data().standardization();
  if (standardization == v1::STANDARDIZATION_NONE || data::HasRanges(standardization)) {
    return OkStatus();
  }
  return config::FieldError("data.standardization",
                            "must be federated_private, range or none in a private job: means and "
                            "deviations are computed from rows, and federated_private alone tells "
                            "them with noise");
}

Status CheckImputation(const v1::JobSpec& spec) {
  // Validate() has held them against the ranges.
  if (data::HasRanges(spec.data().standardization())) return OkStatus();
  for (int i = 0; i < spec.data().features_size(); ++i) {
    const v1::Imputation impute = spec.data().features(i).numeric().impute();
    if (impute == v1::IMPUTATION_UNSPECIFIED) continue;
    return config::FieldError("data.features[" + std::to_string(i) + "].numeric.impute",
                              "must be middle in a private job, with standardization: range, or "
                              "mean, with federated_private");
  }
  return OkStatus();
}

std::vector<double> WholeOrders() {
  std::vector<double> orders;
  for (int order = 2; order <= kLastDenseOrder; ++order) orders.push_back(order);
  for (int order = 2 * kLastDenseOrder; order <= kMostOrder; order *= 2) orders.push_back(order);
  return orders;
}

// Sums over all patients are counted without.
std::string SamplingOf(const v1::JobSpec& spec, const RoundsRun& run) {
  if (spec.has_newton()) return "none";
  if (run.with_metrics > 0 && run.preparations > 0) {
    return "poisson (none for metrics and preparations)";
  }
  if (run.with_metrics > 0) return "poisson (none for metrics)";
  return run.preparations > 0 ? "poisson (none for preparations)" : "poisson";
}

}  // namespace

bool IsPrivate(const v1::JobSpec& spec) { return spec.has_privacy(); }

Status ValidatePrivacy(const v1::JobSpec& spec, const models::GraphPlan& plan) {
  if (!IsPrivate(spec)) {
    if (spec.data().standardization() != v1::STANDARDIZATION_FEDERATED_PRIVATE) return OkStatus();
    return config::FieldError("data.standardization",
                              "must be federated without privacy: federated_private tells means "
                              "and deviations with the noise of a private job");
  }
  const v1::PrivacySpec& privacy = spec.privacy();
  if (privacy.placement_case() == v1::PrivacySpec::PLACEMENT_NOT_SET) {
    return config::FieldError("privacy",
                              "must have distributed: {} (noise on the sum over sites) or local: "
                              "{} (all of it at every site)");
  }
  CHORALE_RETURN_IF_ERROR(CheckNumbers(spec));
  CHORALE_RETURN_IF_ERROR(CheckEnums(privacy));
  if (spec.has_newton()) {
    CHORALE_RETURN_IF_ERROR(ValidatePrivateNewton(spec, plan));
  } else {
    CHORALE_RETURN_IF_ERROR(ValidateSteps(spec, plan));
  }
  CHORALE_RETURN_IF_ERROR(CheckRest(spec));
  CHORALE_RETURN_IF_ERROR(CheckImputation(spec));
  if (privacy.has_metrics()) CHORALE_RETURN_IF_ERROR(ValidatePrivateMetrics(spec, plan));
  CHORALE_RETURN_IF_ERROR(ValidatePrivatePreparation(spec));
  if (!HasNoise(spec)) return OkStatus();
  CHORALE_ASSIGN_OR_RETURN(const privacy::Statement statement, StatementOf(spec, MostRounds(spec)));
  if (statement.guarantee.epsilon <= privacy.target_epsilon()) return OkStatus();
  return config::FieldError("privacy.noise_multiplier",
                            "must be larger for target_epsilon " + Text(privacy.target_epsilon()) +
                                ": it gives epsilon " + Text(statement.guarantee.epsilon) +
                                "; leave it out to have the least that is enough");
}

std::uint64_t StepsPerRound(const v1::JobSpec& spec) {
  return spec.has_newton() ? 1 : spec.training().local_steps();
}

std::uint64_t MaxRounds(const v1::JobSpec& spec) {
  const std::uint64_t count = spec.rounds().count();
  if (spec.privacy().spare_rounds() != 0) return count + spec.privacy().spare_rounds();
  return count + (count + kRoundsForASpareOne - 1) / kRoundsForASpareOne;
}

RoundsRun MostRounds(const v1::JobSpec& spec) {
  RoundsRun most{.rounds = MaxRounds(spec)};
  if (HasPrivatePreparation(spec)) most.preparations = MostPreparations(spec);
  if (!spec.privacy().has_metrics()) return most;
  most.with_metrics = NumMetricRounds(spec) + most.rounds - spec.rounds().count();
  return most;
}

RoundsRun CountRounds(const v1::JobSpec& spec, std::span<const std::uint32_t> numbers) {
  RoundsRun run;
  for (const std::uint32_t number : numbers) {
    run.rounds += number == 0 ? 0 : 1;
    run.preparations += number == 0 ? 1 : 0;
    run.with_metrics += HasMetricsIn(spec, number) ? 1 : 0;
  }
  return run;
}

privacy::Event StepOf(const v1::JobSpec& spec) {
  if (spec.has_newton()) {
    return {.kind = privacy::Gaussian{.noise_multiplier = spec.privacy().noise_multiplier()}};
  }
  return privacy::NoisySteps(privacy::Sampling::kPoisson, spec.privacy().sample_rate(),
                             spec.privacy().noise_multiplier(), 1);
}

privacy::Event EventOfRounds(const v1::JobSpec& spec, const RoundsRun& run) {
  privacy::Event steps = StepOf(spec);
  steps.count = run.rounds * StepsPerRound(spec);
  std::vector<privacy::Event> parts = {std::move(steps)};
  const auto add = [&parts](privacy::Event sums, std::uint64_t count) {
    sums.count = count;
    if (count > 0) parts.push_back(std::move(sums));
  };
  if (run.with_metrics > 0) add(EventOf(MetricSumOf(spec.privacy().metrics())), run.with_metrics);
  if (run.preparations > 0) add(EventOf(PreparationSumOf(spec)), run.preparations);
  if (parts.size() == 1) return std::move(parts.front());
  return {.kind = privacy::Composed{.parts = std::move(parts)}};
}

privacy::PrivacyUnit UnitOf(const v1::PrivacySpec& privacy) {
  return privacy.privacy_unit() == v1::PRIVACY_UNIT_RECORD ? privacy::PrivacyUnit::kRecord
                                                           : privacy::PrivacyUnit::kPatient;
}

privacy::NeighboringRelation RelationOf(const v1::PrivacySpec& privacy) {
  return privacy.neighboring_relation() == v1::NEIGHBORING_RELATION_REPLACE_ONE
             ? privacy::NeighboringRelation::kReplaceOne
             : privacy::NeighboringRelation::kAddOrRemoveOne;
}

privacy::AccountingOptions AccountingOf(const v1::PrivacySpec& privacy) {
  return {.accountant = privacy::AccountantKind::kRdp,
          .relation = RelationOf(privacy),
          .orders = WholeOrders()};
}

StatusOr<privacy::Statement> StatementOf(const v1::JobSpec& spec, const RoundsRun& run) {
  const v1::PrivacySpec& privacy = spec.privacy();
  CHORALE_ASSIGN_OR_RETURN(
      const privacy::Guarantee guarantee,
      privacy::EpsilonFor(EventOfRounds(spec, run), privacy.target_delta(), AccountingOf(privacy)));
  const auto counted = [](std::uint64_t count, const std::string& what) {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
  };
  std::string counts =
      counted(run.rounds * StepsPerRound(spec), spec.has_newton() ? "sum" : "step");
  if (run.with_metrics > 0) counts += " and " + counted(run.with_metrics, "sum") + " of metrics";
  if (run.preparations > 0) counts += " and " + counted(run.preparations, "preparation");
  return privacy::Statement{
      .guarantee = guarantee,
      .unit = UnitOf(privacy),
      .relation = RelationOf(privacy),
      .sampling = SamplingOf(spec, run),
      .accountant = privacy::AccountantKind::kRdp,
      .holds_for = counts + (privacy.has_distributed()
                                 ? " over the consortium's patients, with noise shared by the sites"
                                 : " over one site's patients, with all of the noise at the site")};
}

bool HasNoise(const v1::JobSpec& spec) {
  const v1::PrivacySpec& privacy = spec.privacy();
  return privacy.noise_multiplier() != 0 &&
         (!privacy.has_metrics() || privacy.metrics().noise_multiplier() != 0) &&
         (!HasPrivatePreparation(spec) || privacy.preparation().noise_multiplier() != 0);
}

Status CalibrateNoise(v1::JobSpec& spec) {
  if (!IsPrivate(spec)) return OkStatus();
  v1::PrivacySpec& privacy = *spec.mutable_privacy();
  const RoundsRun most = MostRounds(spec);
  // The least noise for which what `event` says of the job as it then is keeps within the target.
  const auto calibrate = [&](double epsilon, const auto& set, const auto& event) -> Status {
    v1::JobSpec trial = spec;
    CHORALE_ASSIGN_OR_RETURN(
        const privacy::CalibratedNoise noise,
        privacy::CalibrateNoise(
            [&](double multiplier) {
              set(*trial.mutable_privacy(), multiplier);
              return event(trial);
            },
            {.epsilon = epsilon, .delta = privacy.target_delta()}, AccountingOf(privacy)));
    set(privacy, noise.noise_multiplier);
    return OkStatus();
  };
  if (privacy.has_metrics() && privacy.metrics().noise_multiplier() == 0) {
    const double share = privacy.metrics().epsilon_share() == 0 ? kDefaultMetricsShare
                                                                : privacy.metrics().epsilon_share();
    CHORALE_RETURN_IF_ERROR(calibrate(
        share * privacy.target_epsilon(),
        [](v1::PrivacySpec& trial, double multiplier) {
          trial.mutable_metrics()->set_noise_multiplier(multiplier);
        },
        [&](const v1::JobSpec& trial) {
          privacy::Event sums = EventOf(MetricSumOf(trial.privacy().metrics()));
          sums.count = most.with_metrics;
          return sums;
        }));
  }
  if (HasPrivatePreparation(spec) && privacy.preparation().noise_multiplier() == 0) {
    const double share = privacy.preparation().epsilon_share() == 0
                             ? kDefaultPreparationShare
                             : privacy.preparation().epsilon_share();
    CHORALE_RETURN_IF_ERROR(calibrate(
        share * privacy.target_epsilon(),
        [](v1::PrivacySpec& trial, double multiplier) {
          trial.mutable_preparation()->set_noise_multiplier(multiplier);
        },
        [&](const v1::JobSpec& trial) {
          privacy::Event sums = EventOf(PreparationSumOf(trial));
          sums.count = most.preparations;
          return sums;
        }));
  }
  if (privacy.noise_multiplier() != 0) return OkStatus();
  return calibrate(
      privacy.target_epsilon(),
      [](v1::PrivacySpec& trial, double multiplier) { trial.set_noise_multiplier(multiplier); },
      [&](const v1::JobSpec& trial) { return EventOfRounds(trial, most); });
}

StatusOr<privacy::Grid> GridOf(const v1::PrivacySpec& privacy, std::uint64_t num_parameters) {
  return GridOf(NoisySum{.field = "privacy",
                         .num_values = num_parameters + (HasAdaptiveClipping(privacy) ? 1 : 0),
                         .norm = privacy.max_grad_norm()},
                privacy);
}

privacy::GridEncoding EncodingOf(const v1::PrivacySpec& privacy) {
  return privacy.encoding() == v1::GRID_ENCODING_FAST ? privacy::GridEncoding::kFast
                                                      : privacy::GridEncoding::kVerified;
}

StatusOr<privacy::NoiseShare> NoiseShareOf(const v1::JobSpec& spec, std::uint64_t num_parameters,
                                           std::uint32_t honest_sites) {
  const v1::PrivacySpec& privacy = spec.privacy();
  CHORALE_ASSIGN_OR_RETURN(const privacy::Grid grid, GridOf(privacy, num_parameters));
  // A site may hold every patient; six standard deviations above the mean of a batch.
  const double batch = ExpectedBatch(privacy) + 6 * std::sqrt(ExpectedBatch(privacy)) + 1;
  StatusOr<privacy::NoiseShare> share =
      privacy::PlanNoiseShare(grid, {.encoding = EncodingOf(privacy),
                                     .noise_multiplier = privacy.noise_multiplier(),
                                     .num_sites = honest_sites,
                                     .max_batch = static_cast<std::uint64_t>(std::ceil(batch)),
                                     .ring_bits = RingBitsOf(spec, num_parameters)});
  if (share.ok()) return share;
  return config::FieldError("privacy", MessageOf(share.status()));
}

std::uint32_t HonestSites(const v1::JobSpec& spec, const secagg::GroupParameters& group) {
  if (!spec.privacy().has_distributed()) return 1;
  // Sites open no sum over fewer.
  const std::uint32_t least = std::max(group.threshold, group.min_group);
  return least > group.colluders ? least - group.colluders : 1;
}

double ExpectedBatch(const v1::PrivacySpec& privacy) {
  return privacy.sample_rate() * static_cast<double>(privacy.expected_patients());
}

}  // namespace chorale::jobs
