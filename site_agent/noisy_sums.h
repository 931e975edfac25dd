#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/parameters.h"
#include "core/status.h"
#include "data/examples.h"
#include "models/graph.h"
#include "privacy/noise/discrete_gaussian.h"
#include "privacy/noise/grid.h"
#include "privacy/noise/noise_stream.h"
#include "training/local_trainer.h"
#include "training/patient_sampler.h"

namespace chorale::site_agent {

// The noisy sums of clipped gradients of one private task: all that it computes from rows. Who is
// drawn and what is added come from a key that is made for this task alone and never leaves it. The
// noise of a step is drawn before any row is looked at, so that how long it takes tells nothing of
// the sum.
class NoisySums {
 public:
  struct Setup {
    const v1::JobSpec& spec;
    const models::GraphPlan& plan;
    const data::Examples& examples;
    std::uint32_t honest_sites = 1;
    training::LocalTrainer& trainer;
    int num_threads = 1;
    const std::atomic<bool>& cancelled;
  };
  // `key` serves nothing else. What the setup refers to must outlive the sums. INVALID_ARGUMENT: a
  // grid or ring that does not fit the noise.
  [[nodiscard]] static StatusOr<std::unique_ptr<NoisySums>> Create(const Setup& setup,
                                                                   privacy::NoiseKey key);

  // Of step `step` at `parameters`, in steps of the grid. Each step once. [num_parameters]
  [[nodiscard]] StatusOr<std::vector<std::int64_t>> Sum(std::uint64_t step,
                                                        std::span<const float> parameters);
  // The same as a gradient: over the expected batch.
  [[nodiscard]] StatusOr<ParameterVector> Gradient(std::uint64_t step,
                                                   std::span<const float> parameters);

 private:
  NoisySums(const Setup& setup, const privacy::Grid& grid, const privacy::DiscreteGaussian& noise,
            const training::PatientSampler& sampler, privacy::NoiseKey key)
      : setup_(setup), grid_(grid), noise_(noise), sampler_(sampler), key_(std::move(key)) {}
  [[nodiscard]] StatusOr<training::ClippedSumRequest> RequestFor(std::uint64_t step,
                                                                 std::span<const float> parameters);

  Setup setup_;
  privacy::Grid grid_;
  privacy::DiscreteGaussian noise_;
  training::PatientSampler sampler_;
  privacy::NoiseKey key_;
  std::vector<std::uint32_t> patients_;  // Of the step in hand.
};

// A copy in which every row is a unit of its own.
[[nodiscard]] data::Examples ByRecord(const data::Examples& examples);

}  // namespace chorale::site_agent
