#include "training/graph_network.h"

#include <ATen/Context.h>

#include "training/graph_operations.h"

namespace chorale::training {
namespace {

using at::Tensor;

std::vector<std::int64_t> WithRows(std::int64_t rows, const models::Shape& shape) {
  std::vector<std::int64_t> sizes = {rows};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  return sizes;
}

std::int64_t NumbersIn(const models::Shape& shape) {
  std::int64_t numbers = 1;
  for (const std::uint64_t size : shape) numbers *= static_cast<std::int64_t>(size);
  return numbers;
}

}  // namespace

GraphNetwork::GraphNetwork(const models::GraphPlan& plan)
    : plan_(plan), releases_(plan.ReleasesByStep()) {}

std::vector<Tensor> GraphNetwork::Views(const Tensor& flat) const {
  std::vector<Tensor> views;
  const std::vector<TensorLayout>& tensors = plan_.layout().tensors();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::vector<std::int64_t> shape(tensors[i].shape.begin(), tensors[i].shape.end());
    // variable_data: each view counts its changes for itself, as the optimizer changes all of them
    // through `flat`.
    views.push_back(flat.narrow(0, static_cast<std::int64_t>(tensors[i].offset),
                                static_cast<std::int64_t>(tensors[i].size))
                        .view(shape)
                        .variable_data());
    views.back().set_requires_grad(plan_.parameters()[i].is_trainable);
  }
  return views;
}

// Of each pass: which thread runs it makes no difference.
std::vector<at::Generator> GraphNetwork::Generators(const Mode& mode,
                                                    const at::Device& device) const {
  std::vector<at::Generator> generators;
  if (!mode.is_training || !plan_.has_dropout()) return generators;
  const auto add = [&](std::uint64_t seed) {
    generators.push_back(at::globalContext().defaultGenerator(device).clone());
    generators.back().set_current_seed(seed);
  };
  if (mode.parts.empty()) add(mode.seed);
  for (const Part& part : mode.parts) add(part.seed);
  return generators;
}

Tensor GraphNetwork::Forward(const std::vector<Tensor>& views, const Tensor& inputs,
                             const Mode& mode) const {
  const std::int64_t rows = inputs.size(0);
  const v1::ModelGraph& graph = plan_.graph();
  const auto num_inputs = static_cast<std::size_t>(graph.inputs_size());
  std::vector<Tensor> values(num_inputs + plan_.steps().size());
  std::int64_t first = 0;
  for (std::size_t i = 0; i < num_inputs; ++i) {
    const std::int64_t numbers = NumbersIn(plan_.shape_of(i));
    values[i] = inputs.narrow(1, first, numbers).view(WithRows(rows, plan_.shape_of(i)));
    first += numbers;
  }
  std::vector<at::Generator> generators = Generators(mode, inputs.device());
  for (std::size_t i = 0; i < plan_.steps().size(); ++i) {
    const models::GraphStep& step = plan_.steps()[i];
    OperationInputs in{
        .values = {},
        .parameters = std::span(views).subspan(step.first_parameter, step.num_parameters),
        .first_parameter = step.first_parameter,
        .rows = rows,
        .mode = mode,
        .generators = generators};
    in.values.reserve(step.inputs.size());
    for (const std::size_t value : step.inputs) in.values.push_back(values[value]);
    values[num_inputs + i] = Apply(graph.nodes(static_cast<int>(i)), in);
    for (const std::size_t value : releases_[i]) values[value] = Tensor();
  }
  return values[plan_.output()].reshape({rows, static_cast<std::int64_t>(plan_.num_outputs())});
}

}  // namespace chorale::training
