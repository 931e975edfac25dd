#include "coordinator/coordinator_metrics.h"

namespace chorale::coordinator {

CoordinatorMetrics::CoordinatorMetrics(metrics::Registry& registry)
    : rounds_published(registry.AddCounter("chorale_rounds_published_total",
                                           "Rounds that ended with a new model.")),
      rounds_abandoned(
          registry.AddCounter("chorale_rounds_abandoned_total", "Rounds that ended without one.")),
      round_seconds(registry.AddSecondsHistogram("chorale_round_seconds",
                                                 "From dispatch to the end of a round.")),
      bytes_received(
          registry.AddCounter("chorale_received_bytes_total", "Payload bytes taken from sites.")),
      bytes_sent(registry.AddCounter("chorale_sent_bytes_total",
                                     "Model bytes sent to sites and researchers.")),
      connected_sites(registry.AddGauge("chorale_connected_sites", "Sites with a session.")),
      running_jobs(registry.AddGauge("chorale_running_jobs", "Jobs that take turns with sites.")),
      queued_jobs(registry.AddGauge("chorale_queued_jobs", "Jobs that wait for their turn.")) {}

}  // namespace chorale::coordinator
