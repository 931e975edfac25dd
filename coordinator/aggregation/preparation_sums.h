#pragma once

#include <cstddef>
#include <vector>

#include "coordinator/aggregation/server_rule.h"
#include "coordinator/payload_store.h"
#include "core/status.h"

namespace chorale::coordinator {

// Adds the sites' payloads of a preparation round (data/preparation.h), in site order, each sum as
// exact as one rounding. `num_sums` is data::PreparationSize of the job's columns.
// INVALID_ARGUMENT: no contributions, a payload of another size. DATA_LOSS: the disk.
[[nodiscard]] StatusOr<std::vector<double>> SumPreparation(
    const PayloadStore& payloads, const std::vector<Contribution>& contributions,
    std::size_t num_sums);

}  // namespace chorale::coordinator
