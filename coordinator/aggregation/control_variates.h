#pragma once

#include "chorale/v1/jobs.pb.h"
#include "coordinator/aggregation/rule_run.h"
#include "core/status.h"

namespace chorale::coordinator {

// The server's side of SCAFFOLD (Karimireddy et al. 2020, algorithm 1), with a step of 1:
//   model = model + mean of the updates, as the weighting says
//   c = c + (sum over sites of the change of their control variate) / cohort_size
// INVALID_ARGUMENT: a cohort smaller than the contributions.
[[nodiscard]] StatusOr<ServerRuleResult> ApplyScaffold(const RuleRun& run,
                                                       const v1::FederatedAveraging& spec);

}  // namespace chorale::coordinator
