#include "models/graph_builder.h"

#include <utility>

namespace chorale::models {

GraphBuilder::Value GraphBuilder::Input(const Value& name,
                                        std::initializer_list<std::uint64_t> shape) {
  v1::GraphInput& input = *graph_.add_inputs();
  input.set_name(name);
  for (const std::uint64_t size : shape) input.add_shape(size);
  return name;
}

v1::GraphNode& GraphBuilder::Node(const Value& name, std::initializer_list<Value> inputs) {
  v1::GraphNode& node = *graph_.add_nodes();
  node.set_name(name);
  for (const Value& input : inputs) node.add_inputs(input);
  return node;
}

GraphBuilder::Value GraphBuilder::Linear(const Value& name, const Value& input,
                                         std::uint32_t units) {
  Node(name, {input}).mutable_linear()->set_units(units);
  return name;
}

GraphBuilder::Value GraphBuilder::Activate(const Value& name, const Value& input,
                                           v1::Activation activation) {
  Node(name, {input}).set_activation(activation);
  return name;
}

GraphBuilder::Value GraphBuilder::Dropout(const Value& name, const Value& input, double rate) {
  if (rate == 0) return input;
  Node(name, {input}).mutable_dropout()->set_rate(rate);
  return name;
}

GraphBuilder::Value GraphBuilder::LayerNorm(const Value& name, const Value& input) {
  Node(name, {input}).mutable_layer_norm();
  return name;
}

GraphBuilder::Value GraphBuilder::GroupNorm(const Value& name, const Value& input,
                                            std::uint32_t groups) {
  Node(name, {input}).mutable_group_norm()->set_groups(groups);
  return name;
}

GraphBuilder::Value GraphBuilder::Flatten(const Value& name, const Value& input) {
  Node(name, {input}).mutable_flatten();
  return name;
}

GraphBuilder::Value GraphBuilder::Add(const Value& name, const Value& a, const Value& b) {
  Node(name, {a, b}).mutable_add();
  return name;
}

GraphBuilder::Value GraphBuilder::LearnedConstant(const Value& name,
                                                  std::initializer_list<std::uint64_t> shape) {
  v1::LearnedConstant& constant = *Node(name, {}).mutable_learned_constant();
  for (const std::uint64_t size : shape) constant.add_shape(size);
  return name;
}

GraphBuilder::Value GraphBuilder::Concat(const Value& name, const Value& a, const Value& b,
                                         std::uint32_t axis) {
  Node(name, {a, b}).mutable_concat()->set_axis(axis);
  return name;
}

GraphBuilder::Value GraphBuilder::Pick(const Value& name, const Value& input, std::uint64_t place) {
  v1::Slice& slice = *Node(name, {input}).mutable_slice();
  slice.set_begin(place);
  slice.set_end(place + 1);
  slice.set_drop_axis(true);
  return name;
}

v1::GraphNode& GraphBuilder::Convolution(const Value& name, const Value& input,
                                         std::uint32_t channels, const Window& window) {
  v1::GraphNode& node = Node(name, {input});
  v1::Convolution& convolution = *node.mutable_convolution();
  convolution.set_channels(channels);
  for (int axis = 0; axis < window.axes; ++axis) {
    convolution.add_kernel(window.kernel);
    convolution.add_stride(window.stride);
    convolution.add_padding(window.padding);
  }
  return node;
}

GraphBuilder::Value GraphBuilder::MaxPool(const Value& name, const Value& input,
                                          const Window& window) {
  v1::Pool& pool = *Node(name, {input}).mutable_pool();
  pool.set_kind(v1::POOL_KIND_MAX);
  for (int axis = 0; axis < window.axes; ++axis) {
    pool.add_kernel(window.kernel);
    pool.add_stride(window.stride);
    pool.add_padding(window.padding);
  }
  return name;
}

GraphBuilder::Value GraphBuilder::GlobalMean(const Value& name, const Value& input, int axes) {
  v1::AdaptivePool& pool = *Node(name, {input}).mutable_adaptive_pool();
  pool.set_kind(v1::POOL_KIND_AVERAGE);
  for (int axis = 0; axis < axes; ++axis) pool.add_size(1);
  return Flatten(name + ".flat", name);
}

v1::ModelGraph GraphBuilder::Build(const Value& output, const v1::Loss& loss) && {
  graph_.set_output(output);
  *graph_.mutable_loss() = loss;
  return std::move(graph_);
}

}  // namespace chorale::models
