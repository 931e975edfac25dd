#pragma once

#include "chorale/v1/jobs.pb.h"
#include "coordinator/round.h"

// A round as people and manifests see it.
namespace chorale::coordinator {

// "preparation", "training", "newton" or "personalization".
[[nodiscard]] const char* NameOf(Phase phase);

// For people: "report", "advertise keys", ...
[[nodiscard]] const char* NameOf(RoundStep step);
// For ids of tasks: "" for the report, else "advertise-keys", ...
[[nodiscard]] const char* SlugOf(RoundStep step);

// The sites by id, as far as they are in the round's present step.
[[nodiscard]] v1::RoundProgress ProgressOf(const Round& round, Phase phase);

// What a round has come to.
struct RoundOutcome {
  RoundKey key;
  Phase phase;
  Time started_at;
  Time ended_at;
  std::string abandoned_for = {};  // Why; empty: it is published.
  SiteStatuses sites = {};         // The whole cohort.
  std::uint64_t bytes_up = 0;      // Of messages that are no reports.
  std::uint64_t bytes_down = 0;
};

// What came of it is left to the caller: model digest, statistics, what a masked sum told.
// Metrics are means over the contributing sites, weighted by the rows behind them, summed in site
// order.
[[nodiscard]] v1::RoundRecord RecordOf(const RoundOutcome& outcome);

}  // namespace chorale::coordinator
