#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/model.pb.h"
#include "core/config/yaml.h"
#include "models/graph.h"

// Graphs written as a person would write them.
namespace chorale::models {

inline v1::ModelGraph GraphOf(std::string_view yaml) {
  v1::ModelGraph graph;
  const Status status = config::ParseYaml(yaml, "graph.yaml", graph);
  EXPECT_TRUE(status.ok()) << status;
  return graph;
}

inline StatusOr<GraphPlan> Plan(const v1::ModelGraph& graph) {
  return GraphPlan::Create(graph, "model.graph");
}

// Empty for a sound graph.
inline std::string ErrorOf(const v1::ModelGraph& graph) {
  const Status status = Plan(graph).status();
  if (status.ok()) return "";
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

// Sound: y = linear(x), three inputs, one logit.
inline v1::ModelGraph SoundGraph() {
  return GraphOf(R"(
inputs:
  - {name: x, shape: [3]}
nodes:
  - {name: y, inputs: [x], linear: {units: 1}}
output: y
loss: {binary_cross_entropy: {}}
)");
}

// A graph whose first node, "node", is `operation` ("linear: {units: 4}") of inputs x0, x1, ... of
// these shapes; what it gives goes on to one logit.
inline v1::ModelGraph GraphAround(std::string_view operation, const std::vector<Shape>& inputs) {
  std::string shapes = "inputs:\n";
  std::string names;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string name = "x" + std::to_string(i);
    std::string shape;
    for (const std::uint64_t size : inputs[i]) {
      shape += (shape.empty() ? "" : ", ") + std::to_string(size);
    }
    shapes += "  - {name: " + name + ", shape: [" + shape + "]}\n";
    names += (i == 0 ? "" : ", ") + name;
  }
  return GraphOf(shapes + "nodes:\n  - {name: node, inputs: [" + names + "], " +
                 std::string(operation) +
                 "}\n"
                 "  - {name: flat, inputs: [node], flatten: {}}\n"
                 "  - {name: head, inputs: [flat], linear: {units: 1}}\n"
                 "output: head\n");
}

}  // namespace chorale::models
