#pragma once

#include <torch/torch.h>

#include <functional>
#include <span>
#include <string>

#include "models/graph.h"

// The models of the zoo as anyone would write them with torch::nn, for tests and benchmarks to
// compare with. Modules and parameters are named as the plan's.
namespace chorale::training {

class ReferenceModel : public torch::nn::Module {
 public:
  virtual torch::Tensor forward(torch::Tensor x) = 0;  // [rows, num_inputs] to [rows, num_outputs]
};
using ReferencePtr = std::shared_ptr<ReferenceModel>;

[[nodiscard]] ReferencePtr MakeReference(const v1::ModelSpec& spec, std::int64_t num_inputs);

// Copies flat parameters into the module by name; the names must be the same on both sides.
void LoadParameters(const models::GraphPlan& plan, std::span<const float> parameters,
                    torch::nn::Module& module);
// The flat vector of what `of` says of each parameter: itself, or its gradient.
[[nodiscard]] torch::Tensor Flatten(const models::GraphPlan& plan, const torch::nn::Module& module,
                                    const std::function<torch::Tensor(const torch::Tensor&)>& of);

}  // namespace chorale::training
