#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "chorale/v1/config.pb.h"
#include "coordinator/store.h"
#include "core/metrics.h"
#include "core/status.h"
#include "core/time.h"

namespace chorale::coordinator {

// A whole coordinator: its state directory, its engine, its listening server. Start here.
class Coordinator {
 public:
  struct Outside {
    const Clock& clock;
    metrics::Registry& metrics;
    // Told when the store is lost: the program should stop. Called from a thread of the
    // coordinator.
    std::function<void(Status)> on_fatal;
    // Opens what keeps the jobs, in the state directory. Unset: SqliteJobStore.
    std::function<StatusOr<std::unique_ptr<JobStore>>(const std::filesystem::path&)> open_store =
        {};
  };

  // `config` as LoadConfig returns it. FAILED_PRECONDITION: the state directory is in use, or open
  // to other users; the roster is older than one seen before. NOT_FOUND: no identity or no roster.
  // UNAVAILABLE: the address cannot be bound. Everything of `outside` must outlive the coordinator.
  [[nodiscard]] static StatusOr<std::unique_ptr<Coordinator>> Start(
      const v1::CoordinatorConfig& config, const Outside& outside);
  ~Coordinator();  // Stops.
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  // Where it listens.
  [[nodiscard]] int port() const;
  // Drains: tells sites and watchers, lets transfers under way end for a while, finishes durable
  // writes. Idempotent.
  void Stop();

 private:
  struct Parts;
  explicit Coordinator(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace chorale::coordinator
