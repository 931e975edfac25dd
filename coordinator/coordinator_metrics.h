#pragma once

#include "core/metrics.h"

namespace chorale::coordinator {

// What operators watch. Safe for concurrent use.
struct CoordinatorMetrics {
  explicit CoordinatorMetrics(metrics::Registry& registry);
  metrics::Counter& rounds_published;
  metrics::Counter& rounds_abandoned;
  metrics::Histogram& round_seconds;
  metrics::Counter& bytes_received;
  metrics::Counter& bytes_sent;
  metrics::Gauge& connected_sites;
  metrics::Gauge& running_jobs;
  metrics::Gauge& queued_jobs;
};

}  // namespace chorale::coordinator
