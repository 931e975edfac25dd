#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/parameters.h"
#include "core/status.h"
#include "data/examples.h"
#include "jobs/adaptive_clipping.h"
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
    // What gradients are shortened to in this round; where clipping adapts, and there alone. What
    // it is changes nothing of what one patient moves a sum by.
    std::optional<double> clipping_norm = std::nullopt;
    const std::atomic<bool>& cancelled;
  };
  // `key` serves nothing else. What the setup refers to must outlive the sums. INVALID_ARGUMENT: a
  // grid or ring that does not fit the noise; a clipping norm that is missing, too many or beyond
  // its bounds.
  [[nodiscard]] static StatusOr<std::unique_ptr<NoisySums>> Create(const Setup& setup,
                                                                   privacy::NoiseKey key);

  // Of step `step` at `parameters`, in steps of the grid. Each step once. [num_parameters], and
  // where clipping adapts the votes behind them.
  [[nodiscard]] StatusOr<std::vector<std::int64_t>> Sum(std::uint64_t step,
                                                        std::span<const float> parameters);
  // The same as a gradient: over the expected batch. REQUIRES: clipping that does not adapt.
  [[nodiscard]] StatusOr<ParameterVector> Gradient(std::uint64_t step,
                                                   std::span<const float> parameters);

 private:
  NoisySums(const Setup& setup, const privacy::Grid& grid, const privacy::DiscreteGaussian& noise,
            const training::PatientSampler& sampler, privacy::NoiseKey key,
            const std::optional<jobs::ClippingScale>& scale)
      : setup_(setup),
        grid_(grid),
        noise_(noise),
        sampler_(sampler),
        key_(std::move(key)),
        scale_(scale) {}
  [[nodiscard]] StatusOr<training::ClippedSumRequest> RequestFor(std::uint64_t step,
                                                                 std::span<const float> parameters);
  // Where clipping adapts: clipped gradients and votes, brought to the bound that the grid is made
  // for. Until the next call. [num_parameters + 1]
  [[nodiscard]] std::span<const double> Scaled(std::span<const float> clipped, double votes);

  Setup setup_;
  privacy::Grid grid_;
  privacy::DiscreteGaussian noise_;
  training::PatientSampler sampler_;
  privacy::NoiseKey key_;
  std::optional<jobs::ClippingScale> scale_;  // Where clipping adapts.
  std::vector<std::uint32_t> patients_;       // Of the step in hand.
  std::vector<double> scaled_;
};

// A copy in which every row is a unit of its own.
[[nodiscard]] data::Examples ByRecord(const data::Examples& examples);

}  // namespace chorale::site_agent
