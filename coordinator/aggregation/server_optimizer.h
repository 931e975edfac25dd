#pragma once

#include <span>

#include "coordinator/aggregation/rule_run.h"
#include "coordinator/aggregation/server_rule.h"
#include "core/status.h"

// Optimizers at the server: the mean update stands for a step's gradient, with its sign turned.
// Everything is computed in double precision and rounded to float32 once, when it is written.
namespace chorale::coordinator {

// The same coordinates of everything that a step reads and writes: all of one size.
struct OptimizerPiece {
  std::span<const float> model;
  std::span<const double> mean_update;
  std::span<const float> m;  // Empty before the first step: zeros.
  std::span<const float> v;  // Empty before the first step: tau^2. Of adaptive optimizers.
  std::span<float> next_model;
  std::span<float> next_m;
  std::span<float> next_v;  // Of adaptive optimizers.
};

// m = momentum * m + update; model = model + learning_rate * m (Hsu et al. 2019).
struct Momentum {
  double learning_rate = 1;
  double momentum = 0;
};
void StepMomentum(const Momentum& rule, const OptimizerPiece& piece, int num_threads);

enum class SecondMoment { kAdam, kYogi, kAdagrad };

// Reddi et al. 2021, algorithm 2: v is initialised to tau^2, and no bias is corrected.
//   m = beta1 * m + (1 - beta1) * update
//   adam     v = beta2 * v + (1 - beta2) * update^2
//   yogi     v = v - (1 - beta2) * update^2 * sign(v - update^2)
//   adagrad  v = v + update^2
//   model = model + learning_rate * m / (sqrt(v) + tau)
struct Adaptive {
  SecondMoment second_moment = SecondMoment::kAdam;
  double learning_rate = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.99;  // Not of adagrad.
  double tau = 0.001;
};
void StepAdaptive(const Adaptive& rule, const OptimizerPiece& piece, int num_threads);

[[nodiscard]] StatusOr<ServerRuleResult> ApplyMomentum(const RuleRun& run, const v1::FedAvgM& spec);
[[nodiscard]] StatusOr<ServerRuleResult> ApplyAdaptive(const RuleRun& run, SecondMoment moment,
                                                       const v1::FedAdaptive& spec);

}  // namespace chorale::coordinator
