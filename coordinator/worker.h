#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "coordinator/aggregation/newton_solver.h"
#include "coordinator/aggregation/noisy_newton.h"
#include "coordinator/aggregation/server_rule.h"
#include "coordinator/exchange.h"
#include "coordinator/job.h"
#include "coordinator/job_entry.h"
#include "coordinator/payload_store.h"
#include "core/ids.h"
#include "core/status.h"
#include "jobs/masking.h"
#include "training/newton_patients.h"

// What takes too long for the engine's thread.
namespace chorale::coordinator {

// The parameters that a job starts from: those that were uploaded, else initialised ones; zeros in
// float64 for newton.
struct MakeModelWork {
  v1::ModelSpec model = {};
  std::uint64_t num_inputs = 0;
  std::uint64_t seed = 0;
  bool uses_newton = false;
  std::optional<crypto::BlobId> uploaded = {};
};
struct ServerRuleWork {
  ServerRuleRequest request;
};
struct PreparationWork {
  v1::JobSpec job;  // Valid.
  std::vector<Contribution> contributions;
};
// Of a private job: a step from a noisy sum of patients' vectors (training/newton_patients.h).
struct NoisyNewton {
  NoisyNewtonRules rules;
  training::NewtonBounds bounds;
};
struct NewtonWork {
  std::variant<NewtonRules, NoisyNewton> method;
  crypto::BlobId coefficients;  // Little-endian float64.
  // As Encode(NewtonState) writes it; unset: a first step. Steps from noisy sums have none.
  std::optional<crypto::BlobId> state;
  // The state speaks of so many rows: with another number it is none.
  std::uint64_t num_examples_of_state = 0;
  std::vector<Contribution> contributions;
};
struct MetricsWork {
  std::vector<v1::MetricSpec> metrics;
  std::vector<Contribution> contributions;
};
// Ends a step of secure aggregation with what sites answered.
struct ExchangeInput {
  SiteId site;
  crypto::BlobId payload;    // A message; of the report step, a masked vector.
  std::string masked_input;  // Of the report step.
};
struct ExchangeWork {
  std::shared_ptr<Exchange> exchange;  // The worker's until it is done.
  RoundStep step = RoundStep::kReport;
  std::vector<ExchangeInput> inputs;
  RoundOpening opening;  // Of the round that begins when sites have acknowledged; without sites.
  Time wall_now;
};
// The last step: takes the masks off the sum of the survivors' vectors, then does with the sum what
// would be done with the reports.
struct UnmaskWork {
  ExchangeWork exchange;
  jobs::MaskedLayout layout;
  std::vector<Contribution> vectors;  // Of every site whose report counts.
  // Without contributions.
  std::variant<ServerRuleWork, PreparationWork, NewtonWork, MetricsWork> next;
};
struct Work {
  JobId job;
  std::variant<MakeModelWork, ServerRuleWork, PreparationWork, NewtonWork, MetricsWork,
               ExchangeWork, UnmaskWork>
      task;
};

// A model to publish, with what goes along (RoundAggregated).
struct NextModel {
  HeldPayload model;
  std::optional<HeldPayload> server_state = {};
  std::string converged = {};
  std::string note = {};
};
using Blamed = std::vector<std::pair<SiteId, std::string>>;
// A step of secure aggregation that is through: who goes on, and what they are told.
struct StepOutcome {
  std::vector<SiteId> sites;
  std::shared_ptr<const StepMessages> messages;
  Blamed blamed;
  Time wall_time = {};  // When the step was closed.
};
struct Unmasked {
  std::variant<Preparation, RoundMetrics, NextModel> result;
  MaskedSums sums;
  Blamed blamed;
};
using WorkProduct = std::variant<NextModel, Preparation, RoundMetrics, StepOutcome, Unmasked>;
struct WorkDone {
  JobId job;
  StatusOr<WorkProduct> product;  // CANCELLED: the worker stops.
};

// Does one piece of work.
[[nodiscard]] StatusOr<WorkProduct> DoWork(PayloadStore& payloads, const Work& work,
                                           int num_threads, const std::atomic<bool>& cancelled);

// Takes work to do. Each is answered once, with WorkDone, unless the program ends first.
class WorkQueue {
 public:
  virtual ~WorkQueue() = default;
  virtual void Start(Work work) = 0;
};

// One thread that does work in the order it came. Safe for concurrent use.
class Worker final : public WorkQueue {
 public:
  // `done` is called from the worker's thread. `payloads` must outlive the worker.
  Worker(PayloadStore& payloads, int num_threads, std::function<void(WorkDone)> done);
  ~Worker() override;  // Stops.
  void Start(Work work) override;
  // Interrupts what is under way and forgets the rest.
  void Stop();

 private:
  void Run();

  PayloadStore& payloads_;
  const int num_threads_;
  const std::function<void(WorkDone)> done_;
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;  // Guards queue_.
  std::condition_variable has_work_;
  std::deque<Work> queue_;
  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace chorale::coordinator
