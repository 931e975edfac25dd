#include "tests/simulation/trainer.h"

#include "core/random.h"

namespace chorale::simulation {
namespace {

constexpr std::uint64_t kSteps = 1024;
constexpr float kLoss = 0.75f;

}  // namespace

ParameterVector UpdateOf(std::uint64_t seed, std::size_t num_parameters) {
  SeededRandom random(seed);
  ParameterVector update(num_parameters);
  for (float& value : update) {
    const auto step = static_cast<std::int64_t>(random.NextBelow(kSteps + 1));
    value = static_cast<float>(step - static_cast<std::int64_t>(kSteps / 2)) / float{kSteps};
  }
  return update;
}

StatusOr<training::TrainResult> PureTrainer::Train(const training::TrainRequest& request) {
  begins_();
  return training::TrainResult{.update = UpdateOf(request.seed, request.start.size()),
                               .control_change = {},
                               .num_examples = request.train.size()};
}

StatusOr<training::ClippedSum> PureTrainer::SumClippedGradients(
    const training::ClippedSumRequest& request) {
  begins_();
  return training::ClippedSum{.sum = ParameterVector(request.parameters.size(), 0.25f)};
}

StatusOr<std::vector<float>> PureTrainer::Predict(const models::GraphPlan&, std::span<const float>,
                                                  const data::Examples& examples) {
  return std::vector<float>(examples.size(), 0.5f);
}

StatusOr<training::EvaluationResult> PureTrainer::Evaluate(const models::GraphPlan&,
                                                           std::span<const float>,
                                                           const data::Examples&,
                                                           const std::atomic<bool>*) {
  return training::EvaluationResult{.loss = kLoss, .accuracy = {}};
}

}  // namespace chorale::simulation
