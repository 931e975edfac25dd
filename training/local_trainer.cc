#include "training/local_trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "core/bytes.h"
#include "core/config/yaml.h"
#include "core/crypto/digest.h"

namespace chorale::training {
namespace {

constexpr std::uint32_t kMaxLocalEpochs = 1000;
constexpr std::uint32_t kMaxLocalSteps = 1000000;
constexpr std::uint32_t kMaxBatchSize = 1u << 20;
constexpr std::uint32_t kMaxAccumulatedBatches = 1024;
constexpr int kMaxMetrics = 16;
constexpr double kMaxLearningRate = 100;

std::string Path(std::string_view field, std::string_view member) {
  return std::string(field) + "." + std::string(member);
}

// std::to_string rounds small rates to zero; a person must see the value that was refused.
std::string Show(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", value);
  return text.data();
}

Status CheckLearningRate(double rate, const std::string& field) {
  if (rate > 0 && rate <= kMaxLearningRate) return OkStatus();
  return config::FieldError(field, "must be above 0 and at most 100, got " + Show(rate));
}

Status CheckAtLeastZero(double value, const std::string& field) {
  if (value >= 0 && std::isfinite(value)) return OkStatus();
  return config::FieldError(field, "must be at least 0 and finite, got " + Show(value));
}

// In (0, 1], or [0, 1] with `may_be_zero`.
Status CheckShare(double value, bool may_be_zero, const std::string& field) {
  if ((value > 0 || (may_be_zero && value == 0)) && value <= 1) return OkStatus();
  return config::FieldError(
      field, std::string("must be in ") + (may_be_zero ? "[" : "(") + "0, 1], got " + Show(value));
}

Status CheckSgd(const v1::Sgd& sgd, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(CheckLearningRate(sgd.learning_rate(), Path(field, "learning_rate")));
  if (!(sgd.momentum() >= 0 && sgd.momentum() < 1)) {
    return config::FieldError(Path(field, "momentum"),
                              "must be in [0, 1), got " + Show(sgd.momentum()));
  }
  if (sgd.nesterov() && sgd.momentum() == 0) {
    return config::FieldError(Path(field, "nesterov"), "needs momentum above 0");
  }
  return OkStatus();
}

Status CheckOptimizer(const v1::OptimizerSpec& spec, const std::string& field) {
  switch (spec.kind_case()) {
    case v1::OptimizerSpec::kSgd:
      return CheckSgd(spec.sgd(), Path(field, "sgd"));
    case v1::OptimizerSpec::kAdam:
      return CheckLearningRate(spec.adam().learning_rate(), Path(field, "adam.learning_rate"));
    case v1::OptimizerSpec::kAdamw:
      CHORALE_RETURN_IF_ERROR(
          CheckLearningRate(spec.adamw().learning_rate(), Path(field, "adamw.learning_rate")));
      return CheckAtLeastZero(spec.adamw().weight_decay(), Path(field, "adamw.weight_decay"));
    case v1::OptimizerSpec::KIND_NOT_SET:
      break;
  }
  return config::FieldError(field, "is required: sgd, adam or adamw");
}

Status CheckSchedule(const v1::LearningRateSchedule& schedule, const std::string& field) {
  switch (schedule.kind_case()) {
    case v1::LearningRateSchedule::kStepDecay:
      if (schedule.step_decay().every_rounds() == 0) {
        return config::FieldError(Path(field, "step_decay.every_rounds"),
                                  "must be at least 1, got 0");
      }
      return CheckShare(schedule.step_decay().factor(), false, Path(field, "step_decay.factor"));
    case v1::LearningRateSchedule::kCosine:
      return CheckShare(schedule.cosine().floor(), true, Path(field, "cosine.floor"));
    case v1::LearningRateSchedule::kExponential:
      return CheckShare(schedule.exponential().factor(), false, Path(field, "exponential.factor"));
    case v1::LearningRateSchedule::KIND_NOT_SET:
      break;
  }
  return OkStatus();
}

Status CheckCount(std::uint32_t value, std::uint32_t low, std::uint32_t high,
                  const std::string& field) {
  if (value >= low && value <= high) return OkStatus();
  return config::FieldError(field, "must be in [" + std::to_string(low) + ", " +
                                       std::to_string(high) + "], got " + std::to_string(value));
}

Status CheckLength(const v1::TrainingSpec& spec, std::string_view field) {
  switch (spec.length_case()) {
    case v1::TrainingSpec::kLocalEpochs:
      return CheckCount(spec.local_epochs(), 1, kMaxLocalEpochs, Path(field, "local_epochs"));
    case v1::TrainingSpec::kLocalSteps:
      return CheckCount(spec.local_steps(), 1, kMaxLocalSteps, Path(field, "local_steps"));
    case v1::TrainingSpec::LENGTH_NOT_SET:
      break;
  }
  return config::FieldError(std::string(field), "needs local_epochs or local_steps");
}

Status CheckMetrics(const v1::TrainingSpec& spec, std::string_view field) {
  if (spec.metrics_size() > kMaxMetrics) {
    return config::FieldError(Path(field, "metrics"), "must be at most 16 metrics, got " +
                                                          std::to_string(spec.metrics_size()));
  }
  std::set<std::pair<int, int>> seen;
  for (int i = 0; i < spec.metrics_size(); ++i) {
    const std::string entry = Path(field, "metrics[" + std::to_string(i) + "]");
    const v1::MetricSpec& metric = spec.metrics(i);
    if (metric.kind() == v1::METRIC_KIND_UNSPECIFIED || !v1::MetricKind_IsValid(metric.kind())) {
      return config::FieldError(Path(entry, "kind"), "must be loss or accuracy");
    }
    if (metric.split() == v1::SPLIT_UNSPECIFIED || !v1::Split_IsValid(metric.split())) {
      return config::FieldError(Path(entry, "split"), "must be train or test");
    }
    if (!seen.emplace(metric.kind(), metric.split()).second) {
      return config::FieldError(entry, "repeats an earlier metric");
    }
  }
  return OkStatus();
}

}  // namespace

StatusOr<TrainResult> LocalTrainer::TrainOnGradients(const TrainRequest&, const GradientSource&) {
  return FailedPrecondition("this trainer has no optimizer");
}

StatusOr<ClippedSum> LocalTrainer::SumClippedGradients(const ClippedSumRequest&) {
  return FailedPrecondition("this trainer computes no clipped gradients");
}

StatusOr<RowEvaluation> LocalTrainer::EvaluateRows(const models::GraphPlan&, std::span<const float>,
                                                   const data::Examples&,
                                                   const std::atomic<bool>*) {
  return FailedPrecondition("this trainer does not tell rows apart");
}

std::uint64_t SeedFor(std::uint64_t job_seed, std::uint32_t round, std::string_view site) {
  constexpr std::string_view kDomain("chorale/v1/seed\0", 16);
  std::array<std::uint8_t, 12> numbers{};
  for (std::size_t i = 0; i < 8; ++i) {
    numbers[i] = static_cast<std::uint8_t>(job_seed >> (56 - 8 * i));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    numbers[8 + i] = static_cast<std::uint8_t>(round >> (24 - 8 * i));
  }
  crypto::Sha256Hasher hasher;
  hasher.Update(AsBytes(kDomain));
  hasher.Update(numbers);
  hasher.Update(AsBytes(site));
  const crypto::Digest digest = std::move(hasher).Finish();
  std::uint64_t seed = 0;
  for (std::size_t i = 0; i < 8; ++i) seed = seed << 8 | digest[i];
  return seed;
}

Status Validate(const v1::TrainingSpec& spec, std::string_view field) {
  CHORALE_RETURN_IF_ERROR(CheckOptimizer(spec.optimizer(), Path(field, "optimizer")));
  CHORALE_RETURN_IF_ERROR(CheckLength(spec, field));
  CHORALE_RETURN_IF_ERROR(
      CheckCount(spec.batch_size(), 0, kMaxBatchSize, Path(field, "batch_size")));
  CHORALE_RETURN_IF_ERROR(CheckAtLeastZero(spec.l2_penalty(), Path(field, "l2_penalty")));
  CHORALE_RETURN_IF_ERROR(CheckSchedule(spec.schedule(), Path(field, "schedule")));
  CHORALE_RETURN_IF_ERROR(CheckCount(spec.accumulate_batches(), 0, kMaxAccumulatedBatches,
                                     Path(field, "accumulate_batches")));
  CHORALE_RETURN_IF_ERROR(
      CheckAtLeastZero(spec.max_gradient_norm(), Path(field, "max_gradient_norm")));
  CHORALE_RETURN_IF_ERROR(CheckAtLeastZero(spec.fedprox().mu(), Path(field, "fedprox.mu")));
  return CheckMetrics(spec, field);
}

Status ValidateTogether(const v1::TrainingSpec& spec, const models::GraphPlan& plan,
                        std::string_view field) {
  const auto& parameters = plan.parameters();
  if (spec.local_normalization() &&
      std::none_of(parameters.begin(), parameters.end(),
                   [](const models::GraphParameter& p) { return p.is_normalization; })) {
    return config::FieldError(Path(field, "local_normalization"),
                              "needs a model with norm layers; this one has none");
  }
  if (spec.has_scaffold() &&
      !(spec.optimizer().has_sgd() && spec.optimizer().sgd().momentum() == 0)) {
    return config::FieldError(Path(field, "scaffold"), "needs the optimizer sgd without momentum");
  }
  const models::TargetKind kind = plan.target_kind();
  const bool classifies = kind == models::TargetKind::kBinary ||
                          kind == models::TargetKind::kClass || kind == models::TargetKind::kMask;
  for (int i = 0; i < spec.metrics_size(); ++i) {
    if (spec.metrics(i).kind() == v1::METRIC_KIND_AUROC) {
      return config::FieldError(Path(field, "metrics[" + std::to_string(i) + "].kind"),
                                "must be loss or accuracy: means over sites make no area under a "
                                "curve; privacy.metrics has it from sums");
    }
    if (spec.metrics(i).kind() != v1::METRIC_KIND_ACCURACY || classifies) continue;
    return config::FieldError(Path(field, "metrics[" + std::to_string(i) + "].kind"),
                              "must be loss: the model's loss classifies nothing");
  }
  return OkStatus();
}

}  // namespace chorale::training
