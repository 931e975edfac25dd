#pragma once

#include "core/metrics.h"

namespace chorale::site_agent {

// Figures for operators: counts and times, nothing of the data.
struct AgentMetrics {
  explicit AgentMetrics(metrics::Registry& registry)
      : sessions_lost(registry.AddCounter("chorale_site_sessions_lost_total",
                                          "Sessions with the coordinator that ended unasked")),
        is_connected(
            registry.AddGauge("chorale_site_connected", "1 while a session stands, else 0")),
        tasks_taken(registry.AddCounter("chorale_site_tasks_taken_total", "Tasks begun")),
        tasks_refused(registry.AddCounter("chorale_site_tasks_refused_total",
                                          "Tasks refused, with a reason code")),
        reports_acknowledged(registry.AddCounter("chorale_site_reports_acknowledged_total",
                                                 "Reports that the coordinator holds")),
        reports_discarded(registry.AddCounter("chorale_site_reports_discarded_total",
                                              "Reports that the coordinator did not want")),
        work_seconds(registry.AddSecondsHistogram("chorale_site_task_seconds",
                                                  "From beginning a task to its report")) {}

  metrics::Counter& sessions_lost;
  metrics::Gauge& is_connected;
  metrics::Counter& tasks_taken;
  metrics::Counter& tasks_refused;
  metrics::Counter& reports_acknowledged;
  metrics::Counter& reports_discarded;
  metrics::Histogram& work_seconds;
};

}  // namespace chorale::site_agent
