#pragma once

#include "chorale/v1/jobs.pb.h"
#include "coordinator/aggregation/rule_run.h"
#include "core/status.h"

namespace chorale::coordinator {

// Norm bounding (Sun et al. 2019): updates longer than max_norm (L2) are scaled down to it, then
// averaged with their weights.
[[nodiscard]] StatusOr<HeldPayload> ApplyNormBound(const RuleRun& run, const v1::NormBound& spec);

}  // namespace chorale::coordinator
