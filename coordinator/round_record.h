#pragma once

#include "chorale/v1/jobs.pb.h"
#include "coordinator/round.h"

// A round as people and manifests see it.
namespace chorale::coordinator {

// "preparation", "training", "newton" or "personalization".
[[nodiscard]] const char* NameOf(Phase phase);

// The whole cohort, by site id.
[[nodiscard]] v1::RoundProgress ProgressOf(const Round& round, Phase phase);

// REQUIRES: the round is published or abandoned. What came of it is left to the caller: model
// digest, statistics, metrics of a personalization round.
// Metrics are means over the contributing sites, weighted by the rows behind them, summed in site
// order.
[[nodiscard]] v1::RoundRecord RecordOf(const Round& round, Phase phase, Time ended_at);

}  // namespace chorale::coordinator
