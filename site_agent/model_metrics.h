#pragma once

#include <atomic>
#include <span>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "models/graph.h"
#include "site_agent/dataset_cache.h"
#include "site_agent/task_policy.h"
#include "training/local_trainer.h"

namespace chorale::site_agent {

struct MetricsRequest {
  training::LocalTrainer& trainer;
  const models::GraphPlan& plan;
  std::span<const float> parameters;  // [num_parameters]
  const PreparedExamples& examples;
  const ReleaseTerms& terms;
  const std::atomic<bool>* cancelled = nullptr;  // May be null.
};

// The metrics that the terms name, of the parameters on this site's rows, in the order of the
// terms. One over fewer rows than the terms ask for is left out. Errors: the trainer's;
// FAILED_PRECONDITION, a metric is not finite; INVALID_ARGUMENT, the model has no such metric.
[[nodiscard]] StatusOr<std::vector<v1::MetricValue>> EvaluateMetrics(const MetricsRequest& request);

// The same as the payload of a personalization: for each metric of the terms, value times rows, and
// rows; both 0 for one that is left out. [num_metrics, 2]
[[nodiscard]] std::vector<double> ToPairs(const std::vector<v1::MetricValue>& values,
                                          const ReleaseTerms& terms);

}  // namespace chorale::site_agent
