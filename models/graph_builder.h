#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "chorale/v1/model.pb.h"

// Writes a graph node by node. Every function names a value and returns that name; nothing is
// checked here (GraphPlan::Create does).
namespace chorale::models {

class GraphBuilder {
 public:
  using Value = std::string;

  Value Input(const Value& name, std::initializer_list<std::uint64_t> shape);
  // A node without an operation, for the caller to set.
  v1::GraphNode& Node(const Value& name, std::initializer_list<Value> inputs);

  Value Linear(const Value& name, const Value& input, std::uint32_t units);
  Value Activate(const Value& name, const Value& input, v1::Activation activation);
  // No node for a rate of 0: `input` itself.
  Value Dropout(const Value& name, const Value& input, double rate);
  Value LayerNorm(const Value& name, const Value& input);
  Value GroupNorm(const Value& name, const Value& input, std::uint32_t groups);
  Value Flatten(const Value& name, const Value& input);
  Value Add(const Value& name, const Value& a, const Value& b);
  Value LearnedConstant(const Value& name, std::initializer_list<std::uint64_t> shape);
  Value Concat(const Value& name, const Value& a, const Value& b, std::uint32_t axis);
  // Keeps one place of the first axis, which goes.
  Value Pick(const Value& name, const Value& input, std::uint64_t place);

  // As many axes as the input has behind its channels, with the same numbers along each.
  struct Window {
    int axes = 2;
    std::uint32_t kernel = 3;
    std::uint32_t stride = 1;
    std::uint32_t padding = 0;
  };
  // The node, for the caller to change further.
  v1::GraphNode& Convolution(const Value& name, const Value& input, std::uint32_t channels,
                             const Window& window);
  Value MaxPool(const Value& name, const Value& input, const Window& window);
  // The mean over all axes behind the channels. [channels]
  Value GlobalMean(const Value& name, const Value& input, int axes);

  // REQUIRES: called once, last.
  [[nodiscard]] v1::ModelGraph Build(const Value& output, const v1::Loss& loss) &&;

 private:
  v1::ModelGraph graph_;
};

}  // namespace chorale::models
