#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/parameters.h"
#include "core/status.h"
#include "data/dataset.h"

// Local training as the site agent sees it; no LibTorch type appears here. The implementation on
// LibTorch is training/torch_trainer.h; a build without LibTorch has none, and the agent then
// refuses training tasks.
namespace chorale::training {

struct TrainRequest {
  const v1::ModelSpec& model;
  const v1::TrainingSpec& training;
  const data::Examples& train;
  std::span<const float> global_parameters;  // [num_parameters]
  std::uint64_t seed = 0;                    // Of this site and round: order of examples.
  // Told after each optimizer step: share of the work done, in [0, 1].
  std::function<void(double)> on_progress;
  const std::atomic<bool>* cancelled = nullptr;  // Looked at after each step.
};

struct TrainResult {
  ParameterVector update;          // Local minus global. [num_parameters]
  std::uint64_t num_examples = 0;  // Rows of `train`.
};

// Safe for use by one thread at a time.
class LocalTrainer {
 public:
  virtual ~LocalTrainer() = default;
  // INVALID_ARGUMENT: sizes that do not fit. CANCELLED. RESOURCE_EXHAUSTED: memory.
  // FAILED_PRECONDITION: the loss or a parameter became infinite or NaN (training diverged), with
  // what to change.
  [[nodiscard]] virtual StatusOr<TrainResult> Train(const TrainRequest& request) = 0;
  // Probability of the positive class for each example. [num_examples]
  [[nodiscard]] virtual StatusOr<std::vector<float>> Predict(const v1::ModelSpec& model,
                                                             std::span<const float> parameters,
                                                             const data::Examples& examples) = 0;
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

}  // namespace chorale::training
