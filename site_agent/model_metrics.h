#pragma once

#include <span>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "site_agent/dataset_cache.h"
#include "site_agent/task_policy.h"
#include "training/local_trainer.h"

namespace chorale::site_agent {

// The metrics that the terms name, of `parameters` on this site's rows, in the order of the terms.
// One over fewer rows than the terms ask for is left out. Errors: the trainer's;
// FAILED_PRECONDITION, a metric is not finite.
[[nodiscard]] StatusOr<std::vector<v1::MetricValue>> EvaluateMetrics(
    training::LocalTrainer& trainer, const v1::ModelSpec& model, std::span<const float> parameters,
    const PreparedExamples& examples, const ReleaseTerms& terms);

// Mean binary cross-entropy; scores are kept within [1e-7, 1 - 1e-7]. scores, targets [n].
// REQUIRES: n > 0, equal sizes.
[[nodiscard]] double MeanLoss(std::span<const float> scores, std::span<const float> targets);
// Share of rows classified rightly, 1 from a score of 0.5 on. REQUIRES: as above.
[[nodiscard]] double AccuracyOf(std::span<const float> scores, std::span<const float> targets);

}  // namespace chorale::site_agent
