#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/parameters.h"
#include "training/local_trainer.h"

namespace chorale::simulation {

// What training of a site in a round comes to: a pure function of the seed (training::SeedFor).
// Whole steps of 2^-10 in [-0.5, 0.5], so that sums of them are exact.
[[nodiscard]] ParameterVector UpdateOf(std::uint64_t seed, std::size_t num_parameters);

// Takes the place of LibTorch. `begins` is told before anything is computed from rows.
class PureTrainer final : public training::LocalTrainer {
 public:
  explicit PureTrainer(std::function<void()> begins) : begins_(std::move(begins)) {}
  StatusOr<training::TrainResult> Train(const training::TrainRequest& request) override;
  StatusOr<training::ClippedSum> SumClippedGradients(
      const training::ClippedSumRequest& request) override;
  StatusOr<std::vector<float>> Predict(const models::GraphPlan& plan,
                                       std::span<const float> parameters,
                                       const data::Examples& examples) override;
  StatusOr<training::EvaluationResult> Evaluate(const models::GraphPlan& plan,
                                                std::span<const float> parameters,
                                                const data::Examples& examples,
                                                const std::atomic<bool>* cancelled) override;
  std::string device() const override { return "simulated"; }

 private:
  std::function<void()> begins_;
};

}  // namespace chorale::simulation
