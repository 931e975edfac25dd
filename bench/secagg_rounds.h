#pragma once

#include <nlohmann/json.hpp>

#include "core/status.h"

// Whole steps of a round of secure aggregation, in seconds of one core.
namespace chorale::bench {

// What a member does to its vector: n = 1000, d = 10^6.
[[nodiscard]] StatusOr<nlohmann::ordered_json> MeasureMasking();

// What the coordinator does from the members' vectors and shares to the sum, in the settings of
// Bonawitz et al. (CCS 2017, figure 8), where everybody shares with everybody and where members
// draw their neighbours, as a session does above 128 of them, and for n = 100. INTERNAL unless the
// sum is that of what the members masked. Prints each row as it comes.
[[nodiscard]] StatusOr<nlohmann::ordered_json> MeasureUnmasking(bool is_quick);

// Memory beyond the vector itself that a member's masks take, and that taking as many off a sum of
// arriving vectors does, against the vector: both work in place, piece by piece. n = 100.
[[nodiscard]] StatusOr<nlohmann::ordered_json> MeasureMemory();

}  // namespace chorale::bench
