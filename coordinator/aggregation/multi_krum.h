#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "coordinator/aggregation/rule_run.h"
#include "core/status.h"

// Multi-Krum (Blanchard et al. 2017): the mean of the updates that are nearest to their neighbours,
// whatever `byzantine` hostile sites report.
namespace chorale::coordinator {

// The indices, ascending, of the `num_selected` updates of least score; a score is the sum of the
// squared distances to the `num_neighbours` nearest other updates. Of equal scores the earlier
// site's comes first. `distances` are of the pairs (0, 1), (0, 2), ..., (1, 2), .... REQUIRES:
// num_neighbours < num_updates, num_selected <= num_updates.
[[nodiscard]] std::vector<std::size_t> SelectNearest(std::span<const double> distances,
                                                     std::size_t num_updates,
                                                     std::size_t num_neighbours,
                                                     std::size_t num_selected);

// FAILED_PRECONDITION: fewer than 2 * byzantine + 3 reports, or than byzantine + selected.
[[nodiscard]] StatusOr<HeldPayload> ApplyMultiKrum(const RuleRun& run, const v1::MultiKrum& spec);

}  // namespace chorale::coordinator
