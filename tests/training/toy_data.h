#pragma once

#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/random.h"
#include "data/examples.h"
#include "models/model.h"
#include "training/local_trainer.h"

namespace chorale::training {

// Standardised-looking inputs and targets from a logistic ground truth that `shift` moves. Same
// seed, same rows.
inline data::Examples MakeToyExamples(std::size_t num_examples, std::size_t num_inputs,
                                      std::uint64_t seed, double shift = 0) {
  SeededRandom random(seed);
  data::Examples examples;
  examples.num_inputs = num_inputs;
  for (std::size_t row = 0; row < num_examples; ++row) {
    double score = 0.3;
    for (std::size_t i = 0; i < num_inputs; ++i) {
      const double value = shift + 2 * (random.NextDouble() + random.NextDouble() - 1);
      score += (i % 2 == 0 ? 1.0 : -0.7) * value / (1 + static_cast<double>(i) / 4);
      examples.inputs.push_back(static_cast<float>(value));
    }
    examples.targets.push_back(random.NextDouble() < 1 / (1 + std::exp(-score)) ? 1.0F : 0.0F);
    examples.patients.push_back(static_cast<std::uint32_t>(row));
  }
  return examples;
}

// One row a patient, numbered as the rows are.
inline void NumberPatients(data::Examples& examples) {
  examples.patients.resize(examples.size());
  std::iota(examples.patients.begin(), examples.patients.end(), 0u);
}

// Inputs around 0 and no targets yet.
inline data::Examples MakeToyInputs(std::size_t num_examples, std::size_t num_inputs,
                                    std::uint64_t seed) {
  data::Examples examples = MakeToyExamples(num_examples, num_inputs, seed);
  examples.targets.clear();
  return examples;
}

// Examples with targets that the loss of `plan` takes, drawn without a ground truth.
inline data::Examples MakeExamplesFor(const models::GraphPlan& plan, std::size_t num_examples,
                                      std::uint64_t seed) {
  data::Examples examples = MakeToyInputs(num_examples, plan.num_inputs(), seed);
  examples.num_targets = plan.num_targets();
  SeededRandom random(seed + 1);
  const auto classes = plan.target_kind() == models::TargetKind::kClass ? plan.num_outputs() : 2;
  for (std::size_t i = 0; i < num_examples * examples.num_targets; ++i) {
    const bool is_time =
        plan.target_kind() == models::TargetKind::kSurvival && i % examples.num_targets == 0;
    examples.targets.push_back(
        static_cast<float>(is_time ? random.NextBelow(9) + 1 : random.NextBelow(classes)));
  }
  return examples;
}

inline models::GraphPlan PlanFor(const v1::ModelSpec& model, std::uint64_t num_inputs) {
  return models::PlanOf(model, num_inputs).value();
}

// Initial parameters, moved a little: models that start at zero would hide too much.
inline ParameterVector MakeParameters(const models::GraphPlan& plan, std::uint64_t seed) {
  ParameterVector parameters = models::InitialParameters(plan, seed);
  SeededRandom random(seed + 2);
  for (float& value : parameters) value += static_cast<float>(0.2 * (random.NextDouble() - 0.5));
  return parameters;
}

inline v1::ModelSpec MakeLogisticRegression() {
  v1::ModelSpec model;
  model.mutable_logistic_regression();
  return model;
}

inline v1::ModelSpec MakeMlp(const std::vector<std::uint32_t>& hidden_units,
                             v1::Activation activation) {
  v1::ModelSpec model;
  for (const std::uint32_t units : hidden_units) model.mutable_mlp()->add_hidden_units(units);
  model.mutable_mlp()->set_activation(activation);
  return model;
}

inline v1::TrainingSpec MakeSgd(double learning_rate, double momentum, std::uint32_t local_steps,
                                std::uint32_t batch_size) {
  v1::TrainingSpec training;
  training.mutable_optimizer()->mutable_sgd()->set_learning_rate(learning_rate);
  training.mutable_optimizer()->mutable_sgd()->set_momentum(momentum);
  training.set_local_steps(local_steps);
  training.set_batch_size(batch_size);
  return training;
}

inline v1::TrainingSpec MakeAdam(double learning_rate, std::uint32_t local_steps,
                                 std::uint32_t batch_size) {
  v1::TrainingSpec training;
  training.mutable_optimizer()->mutable_adam()->set_learning_rate(learning_rate);
  training.set_local_steps(local_steps);
  training.set_batch_size(batch_size);
  return training;
}

}  // namespace chorale::training
