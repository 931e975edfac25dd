#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/status.h"

// Counters, gauges and histograms for operators, in the Prometheus text format. Safe for concurrent
// use.
namespace chorale::metrics {

class Counter {
 public:
  virtual ~Counter() = default;
  // Negative steps are ignored: a counter only grows.
  virtual void Increment(double by = 1) = 0;
};

class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void Set(double value) = 0;
};

class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void Observe(double value) = 0;
};

// Names follow Prometheus: chorale_<what>_<unit>[_total]. References stay valid as long as the
// registry. Adding a name again gives the same metric. A name that Prometheus refuses, or that
// another type has, is logged and never exported.
class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  Counter& AddCounter(const std::string& name, const std::string& help);
  Gauge& AddGauge(const std::string& name, const std::string& help);
  // Buckets from 1 ms to 1 h.
  Histogram& AddSecondsHistogram(const std::string& name, const std::string& help);

  // The page a scraper reads.
  [[nodiscard]] std::string RenderText() const;

  // Serves /metrics on host:port until the registry is destroyed; port 0 picks a free one.
  // INVALID_ARGUMENT for another form, UNAVAILABLE when the address cannot be bound,
  // FAILED_PRECONDITION the second time.
  [[nodiscard]] Status Serve(const std::string& address);

  // The port that serves, or none before Serve.
  [[nodiscard]] std::optional<int> port() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace chorale::metrics
