#include "core/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/log.h"

namespace chorale::metrics {
namespace {

// The exporter has one page for one reader; more threads would only wait.
constexpr std::size_t kNumServerThreads = 2;

prometheus::Histogram::BucketBoundaries SecondsBuckets() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,  1,    2.5,
          5,     10,     30,    60,   120,   300,  600, 1200, 1800, 2700, 3600};
}

class PrometheusCounter final : public Counter {
 public:
  explicit PrometheusCounter(prometheus::Counter& counter) : counter_(counter) {}
  void Increment(double by) override {
    if (by >= 0) counter_.Increment(by);
  }

 private:
  prometheus::Counter& counter_;
};

class PrometheusGauge final : public Gauge {
 public:
  explicit PrometheusGauge(prometheus::Gauge& gauge) : gauge_(gauge) {}
  void Set(double value) override { gauge_.Set(value); }

 private:
  prometheus::Gauge& gauge_;
};

class PrometheusHistogram final : public Histogram {
 public:
  explicit PrometheusHistogram(prometheus::Histogram& histogram) : histogram_(histogram) {}
  void Observe(double value) override {
    // One NaN would spoil the sum for the life of the process.
    if (std::isfinite(value)) histogram_.Observe(value);
  }

 private:
  prometheus::Histogram& histogram_;
};

bool IsHostCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == ':' || c == '[' || c == ']';
}

// The web server behind the exporter reads more than an address from this text (lists, TLS flags),
// so only host:port gets through.
Status ValidateAddress(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  bool is_valid = colon != std::string_view::npos && colon > 0;
  if (is_valid) {
    const std::string_view port = address.substr(colon + 1);
    is_valid = !port.empty() && port.size() <= 5 &&
               std::all_of(port.begin(), port.end(), is_digit) &&
               std::stoi(std::string(port)) <= 65535 &&
               std::all_of(address.begin(), address.end(), IsHostCharacter);
  }
  if (is_valid) return OkStatus();
  return InvalidArgument(
      "the address of the metrics page must be host:port, like 127.0.0.1:9090, got \"" +
      std::string(address) + "\"");
}

}  // namespace

struct Registry::State {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  // Takes what Prometheus refuses (a name in use by another type): the number is lost, the process
  // lives.
  prometheus::Registry rejected;

  std::mutex instruments_mutex;  // Guards the deques, whose elements never move.
  std::deque<PrometheusCounter> counters;
  std::deque<PrometheusGauge> gauges;
  std::deque<PrometheusHistogram> histograms;

  std::mutex exposer_mutex;  // Guards the exposer.
  std::unique_ptr<prometheus::Exposer> exposer;

  // Runs `define` on the served registry or, if that throws, on the other one under a name that is
  // always right.
  template <typename Define>
  auto& DefineOrReject(const std::string& name, const Define& define) {
    try {
      return define(*registry, name);
    } catch (const std::exception& error) {
      log::Error("metrics.refused", {{"name", name}, {"reason", error.what()}});
      const char* substitute = nullptr;
      using Metric = std::remove_reference_t<decltype(define(*registry, name))>;
      if constexpr (std::is_same_v<Metric, prometheus::Counter>) substitute = "rejected_counter";
      if constexpr (std::is_same_v<Metric, prometheus::Gauge>) substitute = "rejected_gauge";
      if constexpr (std::is_same_v<Metric, prometheus::Histogram>)
        substitute = "rejected_histogram";
      return define(rejected, substitute);
    }
  }
};

Registry::Registry() : state_(std::make_unique<State>()) {}

Registry::~Registry() = default;

Counter& Registry::AddCounter(const std::string& name, const std::string& help) {
  auto& counter = state_->DefineOrReject(
      name, [&help](prometheus::Registry& registry, const std::string& as) -> prometheus::Counter& {
        return prometheus::BuildCounter().Name(as).Help(help).Register(registry).Add({});
      });
  const std::lock_guard lock(state_->instruments_mutex);
  return state_->counters.emplace_back(counter);
}

Gauge& Registry::AddGauge(const std::string& name, const std::string& help) {
  auto& gauge = state_->DefineOrReject(
      name, [&help](prometheus::Registry& registry, const std::string& as) -> prometheus::Gauge& {
        return prometheus::BuildGauge().Name(as).Help(help).Register(registry).Add({});
      });
  const std::lock_guard lock(state_->instruments_mutex);
  return state_->gauges.emplace_back(gauge);
}

Histogram& Registry::AddSecondsHistogram(const std::string& name, const std::string& help) {
  auto& histogram = state_->DefineOrReject(
      name,
      [&help](prometheus::Registry& registry, const std::string& as) -> prometheus::Histogram& {
        return prometheus::BuildHistogram().Name(as).Help(help).Register(registry).Add(
            {}, SecondsBuckets());
      });
  const std::lock_guard lock(state_->instruments_mutex);
  return state_->histograms.emplace_back(histogram);
}

std::string Registry::RenderText() const {
  return prometheus::TextSerializer().Serialize(state_->registry->Collect());
}

Status Registry::Serve(const std::string& address) {
  CHORALE_RETURN_IF_ERROR(ValidateAddress(address));
  const std::lock_guard lock(state_->exposer_mutex);
  if (state_->exposer != nullptr) return FailedPrecondition("the metrics page is served already");
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(address, kNumServerThreads);
    exposer->RegisterCollectable(state_->registry);
    state_->exposer = std::move(exposer);
  } catch (const std::exception&) {
    return Unavailable("the metrics page cannot be served on " + address +
                       ": the address is in use or not of this machine");
  }
  return OkStatus();
}

std::optional<int> Registry::port() const {
  const std::lock_guard lock(state_->exposer_mutex);
  if (state_->exposer == nullptr) return std::nullopt;
  const std::vector<int> ports = state_->exposer->GetListeningPorts();
  if (ports.empty()) return std::nullopt;
  return ports.front();
}

}  // namespace chorale::metrics
