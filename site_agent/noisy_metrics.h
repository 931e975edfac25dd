#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/examples.h"
#include "models/graph.h"
#include "privacy/noise/noise_stream.h"
#include "training/local_trainer.h"

namespace chorale::site_agent {

struct NoisyMetricsRequest {
  const v1::JobSpec& spec;  // With privacy.metrics and its noise.
  const models::GraphPlan& plan;
  std::span<const float> parameters;  // [num_parameters]
  const data::Examples& examples;     // Of the split that the job names; may be none.
  std::uint32_t honest_sites = 1;     // jobs::HonestSites.
  training::LocalTrainer& trainer;
  int num_threads = 1;
  const std::atomic<bool>& cancelled;
};

// How the model does on this site's patients, as jobs/private_metrics.h has it: the sum of their
// vectors, each rounded to the grid by itself and its norm checked in integers, and this site's
// share of the noise, which is drawn before any row is looked at. `key` serves nothing else.
// Errors: the trainer's; INVALID_ARGUMENT, a grid that does not fit the noise. [NumMetricSums]
[[nodiscard]] StatusOr<std::vector<std::int64_t>> NoisyMetrics(const NoisyMetricsRequest& request,
                                                               privacy::NoiseKey key);

}  // namespace chorale::site_agent
