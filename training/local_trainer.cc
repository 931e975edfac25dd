#include "training/local_trainer.h"

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

Status CheckOptimizer(const v1::OptimizerSpec& spec, const std::string& field) {
  switch (spec.kind_case()) {
    case v1::OptimizerSpec::kSgd: {
      CHORALE_RETURN_IF_ERROR(
          CheckLearningRate(spec.sgd().learning_rate(), Path(field, "sgd.learning_rate")));
      const double momentum = spec.sgd().momentum();
      if (momentum >= 0 && momentum < 1) return OkStatus();
      return config::FieldError(Path(field, "sgd.momentum"),
                                "must be in [0, 1), got " + Show(momentum));
    }
    case v1::OptimizerSpec::kAdam:
      return CheckLearningRate(spec.adam().learning_rate(), Path(field, "adam.learning_rate"));
    case v1::OptimizerSpec::KIND_NOT_SET:
      break;
  }
  return config::FieldError(field, "is required: sgd or adam");
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
  if (!(spec.l2_penalty() >= 0 && std::isfinite(spec.l2_penalty()))) {
    return config::FieldError(Path(field, "l2_penalty"),
                              "must be at least 0 and finite, got " + Show(spec.l2_penalty()));
  }
  return CheckMetrics(spec, field);
}

}  // namespace chorale::training
