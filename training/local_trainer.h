#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/parameters.h"
#include "core/status.h"
#include "data/examples.h"
#include "models/graph.h"
#include "training/checkpoint.h"
#include "training/clipped_sum.h"

// Local training as the site agent sees it; no LibTorch type appears here. The implementation on
// LibTorch is training/torch_trainer.h; a build without LibTorch has none, and the agent then
// refuses training tasks.
namespace chorale::training {

// Where a round stands in its job: what learning-rate schedules count.
struct RoundPlace {
  std::uint32_t round = 1;  // From 1.
  std::uint32_t num_rounds = 1;
};

// Control variates of SCAFFOLD. Empty spans mean zeros.
struct ControlVariates {
  std::span<const float> server = {};  // [num_parameters] or empty
  std::span<const float> site = {};    // [num_parameters] or empty
};

struct TrainRequest {
  const models::GraphPlan& plan;
  const v1::TrainingSpec& training;  // Valid.
  const data::Examples& train;
  std::span<const float> start;  // Parameters to start from. [num_parameters]
  std::uint64_t seed = 0;        // Of this site and round: order of examples, dropout.
  RoundPlace place = {};
  ControlVariates control = {};  // Used under scaffold only.
  // Told after each batch: share of the work done, in [0, 1].
  std::function<void(double)> on_progress = {};
  // Where to go on from; null: from the start. Of a request that is equal but for these three.
  const TrainCheckpoint* resume = nullptr;
  // Asked after each step of the optimizer but the last; where it says yes, on_checkpoint is told
  // where training stands.
  std::function<bool()> wants_checkpoint = {};
  std::function<void(const TrainCheckpoint&)> on_checkpoint = {};
  // Looked at after each batch, and within one wherever its rows can be cut: obeyed in 2 s, unless
  // one batch of a model that couples examples takes longer.
  const std::atomic<bool>* cancelled = nullptr;
};

// The gradient of step `step`, counted from 0, at `parameters`. [num_parameters], zeros where
// nothing is trained.
using GradientSource =
    std::function<StatusOr<ParameterVector>(std::uint64_t step, std::span<const float> parameters)>;

struct TrainResult {
  ParameterVector update;  // Local minus start. [num_parameters]
  // Under scaffold, else empty: the site's next control variate minus its present one.
  ParameterVector control_change;  // [num_parameters]
  std::uint64_t num_examples = 0;  // Rows of `train`.
};

struct EvaluationResult {
  double loss = 0;  // Mean over the examples, without penalties.
  std::optional<double>
      accuracy;  // Share classified rightly; none for losses that classify nothing.
};

// Of each example by itself, as EvaluationResult has them of all.
struct RowEvaluation {
  std::vector<float> losses;  // [num_examples]
  std::vector<float> right;   // [num_examples]; empty for losses that classify nothing.
  std::vector<float> told;    // As Predict(). [num_examples, num_outputs]
};

// Safe for use by one thread at a time.
class LocalTrainer {
 public:
  virtual ~LocalTrainer() = default;
  // INVALID_ARGUMENT: sizes that do not fit; a checkpoint that is not of this request. CANCELLED.
  // RESOURCE_EXHAUSTED: memory. FAILED_PRECONDITION: the loss or a parameter became infinite or NaN
  // (training diverged), with what to change.
  [[nodiscard]] virtual StatusOr<TrainResult> Train(const TrainRequest& request) = 0;
  // training.local_steps steps of the optimizer along gradients that come from `source`: private
  // training, where they are noisy sums. No row of `train` is looked at, and num_examples stays 0.
  // Errors of Train(), and those of the source. FAILED_PRECONDITION, unless overridden: a trainer
  // that has no optimizer.
  [[nodiscard]] virtual StatusOr<TrainResult> TrainOnGradients(const TrainRequest& request,
                                                               const GradientSource& source);
  // A site's part of one step of private training (clipped_sum.h). Of one mode, the bytes depend no
  // more on the number of threads than those of Train(). INVALID_ARGUMENT: a model that
  // ValidatePrivate refuses, sizes that do not fit, a patient that is none or comes twice.
  // CANCELLED. RESOURCE_EXHAUSTED: memory. FAILED_PRECONDITION, unless overridden: a trainer that
  // computes none.
  [[nodiscard]] virtual StatusOr<ClippedSum> SumClippedGradients(const ClippedSumRequest& request);
  // What the model says of each example: probabilities (binary cross-entropy; cross-entropy, one
  // for each class), the value, the rate (Poisson), the log hazard ratio (Cox), the hazard of each
  // interval. [num_examples, num_outputs]
  [[nodiscard]] virtual StatusOr<std::vector<float>> Predict(const models::GraphPlan& plan,
                                                             std::span<const float> parameters,
                                                             const data::Examples& examples) = 0;
  // CANCELLED: `cancelled`, which may be null, is looked at as within a batch of Train().
  [[nodiscard]] virtual StatusOr<EvaluationResult> Evaluate(const models::GraphPlan& plan,
                                                            std::span<const float> parameters,
                                                            const data::Examples& examples,
                                                            const std::atomic<bool>* cancelled) = 0;
  // Any number of examples. INVALID_ARGUMENT: sizes that do not fit, a loss whose rows have none by
  // themselves (Cox). CANCELLED as of Evaluate(). FAILED_PRECONDITION, unless overridden: a trainer
  // that does not tell rows apart.
  [[nodiscard]] virtual StatusOr<RowEvaluation> EvaluateRows(const models::GraphPlan& plan,
                                                             std::span<const float> parameters,
                                                             const data::Examples& examples,
                                                             const std::atomic<bool>* cancelled);
  // "cpu" or "cuda:0": where it runs.
  [[nodiscard]] virtual std::string device() const = 0;
};

// Seed of one site in one round, so that sites draw different orders and a repeated round the same
// one: the first 8 bytes (big-endian) of SHA-256("chorale/v1/seed" || 0x00 || job_seed (8 bytes,
// big-endian) || round (4 bytes, big-endian) || site).
[[nodiscard]] std::uint64_t SeedFor(std::uint64_t job_seed, std::uint32_t round,
                                    std::string_view site);

// INVALID_ARGUMENT as a config::FieldError below `field` ("training").
[[nodiscard]] Status Validate(const v1::TrainingSpec& spec, std::string_view field);
// What only model and training together show: local_normalization without a norm layer, scaffold
// with another optimizer than plain sgd, a metric that the loss does not have.
[[nodiscard]] Status ValidateTogether(const v1::TrainingSpec& spec, const models::GraphPlan& plan,
                                      std::string_view field);

// Bytes that Train() is going to need beyond the examples themselves, from above: parameters,
// gradients, optimizer state, activations of the rows in flight. `max_patient_rows`: rows of the
// patient that has most; batches are drawn over patients. The largest number where it would not
// fit. REQUIRES: a valid specification, num_examples > 0, threads > 0.
[[nodiscard]] std::uint64_t EstimateMemory(const models::GraphPlan& plan,
                                           const v1::TrainingSpec& training,
                                           std::uint64_t num_examples, int threads,
                                           std::uint64_t max_patient_rows = 1);

// The same of Evaluate() and Predict() on so many examples. REQUIRES: num_examples > 0, threads >
// 0.
[[nodiscard]] std::uint64_t EstimateEvaluationMemory(const models::GraphPlan& plan,
                                                     std::uint64_t num_examples, int threads);

}  // namespace chorale::training
