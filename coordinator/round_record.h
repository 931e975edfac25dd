#pragma once

#include "chorale/v1/jobs.pb.h"
#include "coordinator/round.h"

// A round as people and manifests see it.
namespace chorale::coordinator {

// "preparation" for round 0, "training" otherwise.
[[nodiscard]] const char* PhaseOf(RoundNumber number);

// The whole cohort, by site id.
[[nodiscard]] v1::RoundProgress ProgressOf(const Round& round);

// REQUIRES: the round is published or abandoned. The model digest is left to the caller.
// Metrics are means over the contributing sites, weighted by the rows behind them, summed in site
// order.
[[nodiscard]] v1::RoundRecord RecordOf(const Round& round, Time ended_at);

}  // namespace chorale::coordinator
