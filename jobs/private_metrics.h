#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "jobs/noisy_sum.h"
#include "models/graph.h"

// Metrics of a private job (privacy.metrics): how the model does on patients, as noisy sums over
// sites. Each patient adds a vector whose length is bounded: 1, then what the job asks for of the
// means over the patient's rows, each in [0, 1]: the loss over max_loss; the share of rows that are
// classified right; for the area under the curve the shares of rows that are positive with a score
// in each bin, and those that are negative. Everybody computes all of it from the signed
// specification alone.
namespace chorale::jobs {

// INVALID_ARGUMENT as a config::FieldError below "privacy.metrics". `plan` is that of the job's
// model.
[[nodiscard]] Status ValidatePrivateMetrics(const v1::JobSpec& spec, const models::GraphPlan& plan);

// REQUIRES of all below: privacy.metrics that is valid, unless it says otherwise.

// Whether the round has a sum of metrics beside its steps. False for jobs without privacy.metrics.
[[nodiscard]] bool HasMetricsIn(const v1::JobSpec& spec, std::uint32_t round);
// Rounds of rounds.count that have.
[[nodiscard]] std::uint64_t NumMetricRounds(const v1::JobSpec& spec);

// Values in a sum. 0 for jobs without privacy.metrics.
[[nodiscard]] std::uint64_t NumMetricSums(const v1::JobSpec& spec);
// One of them. A patient's vector has a length of at most the root of the number of its parts.
[[nodiscard]] NoisySum MetricSumOf(const v1::PrivateMetrics& metrics);

// What a model says of a row. Any values: they are cut to their bounds.
struct RowScore {
  double loss = 0;
  double right = 0;  // 1 where it is classified rightly.
  double score = 0;  // The probability of a positive target.
  bool is_positive = false;
};
// Adds a row to its patient's vector, with a weight of one over the number of the patient's rows.
// [NumMetricSums]
void AddRow(const v1::PrivateMetrics& metrics, const RowScore& row, double weight,
            std::span<double> vector);

// What noisy sums tell: estimates, cut to values that the metric can have. None where the noise
// leaves no patient, as in rounds without metrics, whose sums are zeros; no area where it leaves
// none of either class. [NumMetricSums]
[[nodiscard]] std::vector<v1::MetricValue> MetricsOf(const v1::PrivateMetrics& metrics,
                                                     std::span<const double> sums);

}  // namespace chorale::jobs
