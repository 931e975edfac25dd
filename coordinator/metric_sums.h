#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "chorale/v1/jobs.pb.h"
#include "coordinator/aggregation/server_rule.h"
#include "coordinator/job.h"
#include "coordinator/payload_store.h"
#include "core/bytes.h"
#include "core/status.h"

// What a personalization round adds up: for each metric of the job, in order, the value times the
// rows behind it, and those rows. Little-endian float64, [num_metrics, 2].
namespace chorale::coordinator {

[[nodiscard]] inline std::uint64_t MetricPayloadBytes(std::size_t num_metrics) {
  return 2 * num_metrics * sizeof(double);
}

// INVALID_ARGUMENT unless a model could have this mean over rows: a loss that float32 can have, so
// that means over sites stay finite; an accuracy in [0, 1].
[[nodiscard]] Status CheckMetric(v1::MetricKind kind, double mean);

// INVALID_ARGUMENT unless `payload` has that size and could say something of a model: rows whole
// and not negative, nothing of no rows, means that CheckMetric takes.
[[nodiscard]] Status CheckMetricSums(ByteSpan payload, std::span<const v1::MetricSpec> metrics);

// Means over the sites, in the order of the job's metrics; one that no site told is left out.
// INVALID_ARGUMENT: a payload of another size. DATA_LOSS: the disk.
[[nodiscard]] StatusOr<RoundMetrics> AverageMetrics(const PayloadStore& payloads,
                                                    const std::vector<Contribution>& contributions,
                                                    std::span<const v1::MetricSpec> metrics);

}  // namespace chorale::coordinator
