#include "jobs/private_metrics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/config/yaml.h"
#include "jobs/field_checks.h"

namespace chorale::jobs {
namespace {

constexpr std::string_view kField = "privacy.metrics";
constexpr std::uint32_t kMostEveryRounds = 10000;
constexpr double kLeastNoise = 0.01;
constexpr double kMostNoise = 1e6;
constexpr double kLeastShare = 0.001;
constexpr double kMostShare = 0.9;
constexpr double kLeastMaxLoss = 1e-3;
constexpr double kMostMaxLoss = 1e6;
constexpr double kDefaultMaxLoss = 4;
constexpr std::uint32_t kLeastBins = 2;
constexpr std::uint32_t kMostBins = 100;
constexpr std::uint32_t kDefaultBins = 20;

Status Refuse(std::string_view field, const std::string& text) {
  return config::FieldError(std::string(kField) + "." + std::string(field), text);
}

bool Asks(const v1::PrivateMetrics& metrics, v1::MetricKind kind) {
  return std::ranges::find(metrics.kinds(), static_cast<int>(kind)) != metrics.kinds().end();
}

double MaxLossOf(const v1::PrivateMetrics& metrics) {
  return metrics.max_loss() == 0 ? kDefaultMaxLoss : metrics.max_loss();
}

std::size_t NumBinsOf(const v1::PrivateMetrics& metrics) {
  return metrics.auroc_bins() == 0 ? kDefaultBins : metrics.auroc_bins();
}

// Where the parts of a vector lie. The number of patients is at 0.
struct Places {
  explicit Places(const v1::PrivateMetrics& metrics) : num_bins(NumBinsOf(metrics)) {
    if (Asks(metrics, v1::METRIC_KIND_LOSS)) loss = size++;
    if (Asks(metrics, v1::METRIC_KIND_ACCURACY)) accuracy = size++;
    if (!Asks(metrics, v1::METRIC_KIND_AUROC)) return;
    bins = size;
    size += 2 * num_bins;
  }
  std::optional<std::size_t> loss;
  std::optional<std::size_t> accuracy;
  std::optional<std::size_t> bins;  // Of positive rows, then of negative ones.
  std::size_t num_bins;
  std::size_t size = 1;
};

// NaN is the upper end.
double Share(double value, double most) { return value < most ? std::max(value, 0.0) / most : 1.0; }

Status CheckKinds(const v1::PrivateMetrics& metrics, const models::GraphPlan& plan) {
  if (metrics.kinds().empty()) return Refuse("kinds", "must have loss, accuracy or auroc");
  for (int i = 0; i < metrics.kinds_size(); ++i) {
    const std::string field = "kinds[" + std::to_string(i) + "]";
    const v1::MetricKind kind = metrics.kinds(i);
    if (kind == v1::METRIC_KIND_UNSPECIFIED || !v1::MetricKind_IsValid(kind)) {
      return Refuse(field, "must be loss, accuracy or auroc");
    }
    if (std::find(metrics.kinds().begin(), metrics.kinds().begin() + i, kind) !=
        metrics.kinds().begin() + i) {
      return Refuse(field, "comes twice");
    }
  }
  const models::TargetKind target = plan.target_kind();
  if (Asks(metrics, v1::METRIC_KIND_LOSS) && plan.graph().loss().has_poisson()) {
    return Refuse("kinds", "must be without loss: the Poisson loss has no lower bound");
  }
  if (Asks(metrics, v1::METRIC_KIND_ACCURACY) && target != models::TargetKind::kBinary &&
      target != models::TargetKind::kClass && target != models::TargetKind::kMask) {
    return Refuse("kinds", "must be without accuracy: the model's loss classifies nothing");
  }
  if (Asks(metrics, v1::METRIC_KIND_AUROC) && target != models::TargetKind::kBinary) {
    return Refuse("kinds", "must be without auroc: the model's target is not binary");
  }
  return OkStatus();
}

// The area under the curve of noisy numbers of positive and of negative rows in each bin, rising;
// rows of one bin are ties. None where either class is empty.
std::optional<double> AreaUnderCurve(std::span<const double> positive,
                                     std::span<const double> negative) {
  double num_positive = 0;
  double num_negative = 0;
  double ordered = 0;  // Pairs in the right order.
  for (std::size_t bin = 0; bin < positive.size(); ++bin) {
    ordered += positive[bin] * (num_negative + negative[bin] / 2);
    num_positive += positive[bin];
    num_negative += negative[bin];
  }
  if (!(num_positive >= 1 && num_negative >= 1)) return std::nullopt;
  return std::clamp(ordered / (num_positive * num_negative), 0.0, 1.0);
}

}  // namespace

Status ValidatePrivateMetrics(const v1::JobSpec& spec, const models::GraphPlan& plan) {
  const v1::PrivateMetrics& metrics = spec.privacy().metrics();
  CHORALE_RETURN_IF_ERROR(CheckKinds(metrics, plan));
  if (metrics.split() != v1::SPLIT_TRAIN && metrics.split() != v1::SPLIT_TEST) {
    return Refuse("split", "must be train or test");
  }
  if (metrics.every_rounds() > kMostEveryRounds) {
    return Refuse("every_rounds",
                  "must be at most 10000, got " + std::to_string(metrics.every_rounds()));
  }
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault("privacy.metrics.noise_multiplier",
                                              metrics.noise_multiplier(), kLeastNoise, kMostNoise));
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault("privacy.metrics.epsilon_share",
                                              metrics.epsilon_share(), kLeastShare, kMostShare));
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault("privacy.metrics.max_loss", metrics.max_loss(),
                                              kLeastMaxLoss, kMostMaxLoss));
  if (metrics.max_loss() != 0 && !Asks(metrics, v1::METRIC_KIND_LOSS)) {
    return Refuse("max_loss", "needs loss among kinds");
  }
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault("privacy.metrics.auroc_bins", metrics.auroc_bins(),
                                              kLeastBins, kMostBins));
  if (metrics.auroc_bins() != 0 && !Asks(metrics, v1::METRIC_KIND_AUROC)) {
    return Refuse("auroc_bins", "needs auroc among kinds");
  }
  return GridOf(MetricSumOf(metrics), spec.privacy()).status();
}

bool HasMetricsIn(const v1::JobSpec& spec, std::uint32_t round) {
  if (!spec.privacy().has_metrics()) return false;
  const std::uint32_t count = spec.rounds().count();
  const std::uint32_t every = spec.privacy().metrics().every_rounds();
  if (round < 1 || round > count) return false;
  return every == 0 ? round == count : (count - round) % every == 0;
}

std::uint64_t NumMetricRounds(const v1::JobSpec& spec) {
  const std::uint32_t every = spec.privacy().metrics().every_rounds();
  if (every == 0) return 1;
  return (std::uint64_t{spec.rounds().count()} + every - 1) / every;
}

std::uint64_t NumMetricSums(const v1::JobSpec& spec) {
  return spec.privacy().has_metrics() ? Places(spec.privacy().metrics()).size : 0;
}

NoisySum MetricSumOf(const v1::PrivateMetrics& metrics) {
  return {.field = kField,
          .num_values = Places(metrics).size,
          .norm = std::sqrt(1.0 + metrics.kinds_size()),
          .noise_multiplier = metrics.noise_multiplier()};
}

void AddRow(const v1::PrivateMetrics& metrics, const RowScore& row, double weight,
            std::span<double> vector) {
  const Places places(metrics);
  vector[0] += weight;
  if (places.loss) vector[*places.loss] += weight * Share(row.loss, MaxLossOf(metrics));
  if (places.accuracy) vector[*places.accuracy] += weight * Share(row.right, 1);
  if (!places.bins) return;
  const auto bin =
      static_cast<std::size_t>(Share(row.score, 1) * static_cast<double>(places.num_bins));
  const std::size_t first = *places.bins + (row.is_positive ? 0 : places.num_bins);
  vector[first + std::min(bin, places.num_bins - 1)] += weight;
}

std::vector<v1::MetricValue> MetricsOf(const v1::PrivateMetrics& metrics,
                                       std::span<const double> sums) {
  const Places places(metrics);
  const double patients = sums[0];
  if (!(patients >= 1)) return {};
  std::vector<v1::MetricValue> values;
  const auto add = [&](v1::MetricKind kind, double value) {
    v1::MetricValue& metric = values.emplace_back();
    metric.set_kind(kind);
    metric.set_split(metrics.split());
    metric.set_value(value);
    metric.set_num_examples(static_cast<std::uint64_t>(std::llround(patients)));
  };
  const auto mean = [&](std::size_t place) { return std::clamp(sums[place] / patients, 0.0, 1.0); };
  if (places.loss) add(v1::METRIC_KIND_LOSS, MaxLossOf(metrics) * mean(*places.loss));
  if (places.accuracy) add(v1::METRIC_KIND_ACCURACY, mean(*places.accuracy));
  if (places.bins) {
    const std::span<const double> bins = sums.subspan(*places.bins);
    const std::optional<double> area =
        AreaUnderCurve(bins.first(places.num_bins), bins.subspan(places.num_bins, places.num_bins));
    if (area) add(v1::METRIC_KIND_AUROC, *area);
  }
  return values;
}

}  // namespace chorale::jobs
