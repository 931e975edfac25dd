#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "coordinator/aggregation/server_rule.h"
#include "coordinator/payload_store.h"
#include "core/status.h"

namespace chorale::coordinator {

// Adds the sites' payloads of `num_sums` little-endian float64, in the order of the contributions,
// each sum as exact as one rounding (compensated summation, Neumaier 1974). Memory for three
// vectors of that size. `what` is said of a payload in messages: "the sums". INVALID_ARGUMENT: no
// contributions, a payload of another size. DATA_LOSS: the disk.
[[nodiscard]] StatusOr<std::vector<double>> AddPayloads(
    const PayloadStore& payloads, const std::vector<Contribution>& contributions,
    std::size_t num_sums, std::string_view what);

}  // namespace chorale::coordinator
