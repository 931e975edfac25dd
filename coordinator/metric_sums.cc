#include "coordinator/metric_sums.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/parameters.h"

namespace chorale::coordinator {
namespace {

constexpr double kMaxRows = 1e12;

Status CheckSize(std::size_t size_bytes, std::size_t num_metrics) {
  if (size_bytes == MetricPayloadBytes(num_metrics)) return OkStatus();
  return InvalidArgument("the metrics must have " +
                         std::to_string(MetricPayloadBytes(num_metrics)) + " bytes, got " +
                         std::to_string(size_bytes));
}

Status CheckOne(double sum, double rows, v1::MetricKind kind) {
  if (!std::isfinite(sum) || !std::isfinite(rows)) {
    return InvalidArgument("the metrics must be finite");
  }
  if (rows < 0 || rows > kMaxRows || rows != std::floor(rows)) {
    return InvalidArgument("the rows behind a metric must be a whole number in [0, 10^12]");
  }
  if (rows > 0) return CheckMetric(kind, sum / rows);
  return sum == 0 ? OkStatus() : InvalidArgument("a metric of no rows must be 0");
}

}  // namespace

Status CheckMetric(v1::MetricKind kind, double mean) {
  if (!(std::abs(mean) <= std::numeric_limits<float>::max())) {
    return InvalidArgument("metrics must be finite, as float32 is");
  }
  if (kind == v1::METRIC_KIND_ACCURACY && (mean < 0 || mean > 1)) {
    return InvalidArgument("an accuracy must be in [0, 1]");
  }
  return OkStatus();
}

Status CheckMetricSums(ByteSpan payload, std::span<const v1::MetricSpec> metrics) {
  CHORALE_RETURN_IF_ERROR(CheckSize(payload.size(), metrics.size()));
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> sums, DoublesFromBytes(payload));
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    CHORALE_RETURN_IF_ERROR(CheckOne(sums[2 * i], sums[2 * i + 1], metrics[i].kind()));
  }
  return OkStatus();
}

StatusOr<RoundMetrics> AverageMetrics(const PayloadStore& payloads,
                                      const std::vector<Contribution>& contributions,
                                      std::span<const v1::MetricSpec> metrics) {
  std::vector<double> sums(2 * metrics.size(), 0.0);
  for (const Contribution& contribution : contributions) {
    CHORALE_RETURN_IF_ERROR(CheckSize(contribution.payload.size_bytes, metrics.size()));
    CHORALE_ASSIGN_OR_RETURN(const PayloadReader reader, payloads.Find(contribution.payload));
    Bytes bytes(contribution.payload.size_bytes);
    CHORALE_RETURN_IF_ERROR(reader.ReadAt(0, bytes));
    CHORALE_ASSIGN_OR_RETURN(const std::vector<double> values, DoublesFromBytes(bytes));
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += values[i];
  }
  RoundMetrics means;
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    const double rows = sums[2 * i + 1];
    if (rows == 0) continue;
    v1::MetricValue& mean = means.emplace_back();
    mean.set_kind(metrics[i].kind());
    mean.set_split(metrics[i].split());
    mean.set_value(sums[2 * i] / rows);
    mean.set_num_examples(static_cast<std::uint64_t>(rows));
  }
  return means;
}

}  // namespace chorale::coordinator
