#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/model.pb.h"
#include "core/status.h"
#include "models/graph.h"

// What one node of a graph computes: the shape rule, parameters and cost of every operation.
namespace chorale::models {

inline constexpr int kMaxAxes = 8;

// A node with the shapes of its inputs, and how errors about it are told.
struct Layer {
  const v1::GraphNode& node;
  std::span<const Shape* const> inputs;  // As many as node.inputs().
  const std::string& field;              // "model.graph.nodes[3]"

  // REQUIRES: an operation that takes inputs.
  [[nodiscard]] const Shape& input() const { return *inputs.front(); }
  // Of an attribute of the operation: "model.graph.nodes[3].linear.units".
  [[nodiscard]] Status AttributeError(std::string_view attribute, std::string_view problem) const;
  // "model.graph.nodes[3] (linear) takes WANTED, got [3, 4]"
  [[nodiscard]] Status Misfit(std::string_view wanted) const;
  [[nodiscard]] Status CheckAtLeast1(std::string_view attribute, std::uint64_t value) const;
  // A rate in [0, 1).
  [[nodiscard]] Status CheckRate(std::string_view attribute, double rate) const;
};

struct LayerPlan {
  Shape output;
  std::vector<GraphParameter> parameters = {};  // Names without the node's: "weight".
  std::uint64_t multiply_adds = 0;
  std::uint64_t num_kept = 0;  // Numbers of a training step beside the output, from above.
};

// The operation's name in model.proto: "layer_norm"; empty when none is set.
[[nodiscard]] std::string OperationName(const v1::GraphNode& node);

// Writes out what the attributes of `node` leave to a default, so that equal meaning looks equal.
// Fit for any node, however unsound.
void FillDefaults(v1::GraphNode& node);

// INVALID_ARGUMENT as a config::FieldError: no operation, too few or many inputs, an attribute out
// of bounds, shapes that do not fit. REQUIRES: FillDefaults(node) was called; each input has 1 to 8
// axes and a countable number of numbers.
[[nodiscard]] StatusOr<LayerPlan> PlanLayer(const Layer& layer);

// PlanLayer by families; the operation must be one of theirs, and the number of inputs right.
[[nodiscard]] StatusOr<LayerPlan> PlanWeighted(const Layer& layer);       // layer_weighted.cc
[[nodiscard]] StatusOr<LayerPlan> PlanNormalization(const Layer& layer);  // layer_weighted.cc
[[nodiscard]] StatusOr<LayerPlan> PlanRecurrent(const Layer& layer);      // layer_sequence.cc
[[nodiscard]] StatusOr<LayerPlan> PlanAttention(const Layer& layer);      // layer_sequence.cc
[[nodiscard]] StatusOr<LayerPlan> PlanPooling(const Layer& layer);        // layer_spatial.cc
[[nodiscard]] StatusOr<LayerPlan> PlanArrangement(const Layer& layer);    // layer_arrangement.cc

// Places of a window along one axis: floor((size + 2 padding - extent) / stride) + 1, where extent
// is dilation (kernel - 1) + 1; 0 when the window is larger than the padded axis. REQUIRES: size at
// most 2^36, stride at least 1.
[[nodiscard]] std::uint64_t WindowPlaces(std::uint64_t size, std::uint64_t kernel,
                                         std::uint64_t stride, std::uint64_t padding,
                                         std::uint64_t dilation);

}  // namespace chorale::models
