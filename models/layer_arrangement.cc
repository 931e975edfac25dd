#include <algorithm>
#include <string>
#include <vector>

#include "core/config/field_text.h"
#include "models/layer.h"
#include "models/sizes.h"

// Operations number by number, and those that only arrange numbers anew.
namespace chorale::models {
namespace {

StatusOr<LayerPlan> PlanActivation(const Layer& layer) {
  const v1::Activation activation = layer.node.activation();
  if (activation == v1::ACTIVATION_UNSPECIFIED || !v1::Activation_IsValid(activation)) {
    return layer.AttributeError(
        "", "must be one of " + config::EnumChoices(*v1::Activation_descriptor()));
  }
  return LayerPlan{.output = layer.input()};
}

StatusOr<LayerPlan> PlanReshape(const Layer& layer) {
  const auto& shape = layer.node.reshape().shape();
  if (shape.empty() || shape.size() > kMaxAxes) {
    return layer.AttributeError("shape",
                                "must have 1 to 8 axes, got " + std::to_string(shape.size()));
  }
  LayerPlan plan{.output = {shape.begin(), shape.end()}};
  for (const std::uint64_t size : shape)
    CHORALE_RETURN_IF_ERROR(layer.CheckAtLeast1("shape", size));
  if (NumNumbers(plan.output) != NumNumbers(layer.input())) {
    return layer.Misfit("as many numbers as " + ShapeText(plan.output) + " has");
  }
  return plan;
}

StatusOr<LayerPlan> PlanTranspose(const Layer& layer) {
  const auto& axes = layer.node.transpose().axes();
  const Shape& input = layer.input();
  LayerPlan plan;
  std::vector<bool> is_taken(input.size(), false);
  bool is_permutation = static_cast<std::size_t>(axes.size()) == input.size();
  for (int i = 0; is_permutation && i < axes.size(); ++i) {
    is_permutation = axes[i] < input.size() && !is_taken[axes[i]];
    if (!is_permutation) break;
    is_taken[axes[i]] = true;
    plan.output.push_back(input[axes[i]]);
  }
  if (is_permutation) return plan;
  return layer.AttributeError("axes", "must be the numbers from 0 to " +
                                          std::to_string(input.size() - 1) +
                                          " in some order, as the input is " + ShapeText(input));
}

Status CheckAxis(const Layer& layer, std::uint32_t axis) {
  if (axis < layer.input().size()) return OkStatus();
  return layer.AttributeError("axis", "must be below " + std::to_string(layer.input().size()) +
                                          ", as the input is " + ShapeText(layer.input()) +
                                          ", got " + std::to_string(axis));
}

StatusOr<LayerPlan> PlanConcat(const Layer& layer) {
  const std::uint32_t axis = layer.node.concat().axis();
  CHORALE_RETURN_IF_ERROR(CheckAxis(layer, axis));
  LayerPlan plan{.output = layer.input()};
  plan.output[axis] = 0;
  for (const Shape* input : layer.inputs) {
    bool fits = input->size() == plan.output.size();
    for (std::size_t i = 0; fits && i < input->size(); ++i) {
      fits = i == axis || (*input)[i] == plan.output[i];
    }
    if (!fits)
      return layer.Misfit("shapes that differ along axis " + std::to_string(axis) + " alone");
    plan.output[axis] = Sum(plan.output[axis], (*input)[axis]);
  }
  return plan;
}

// The shape that both broadcast to, as NumPy's do: aligned at the last axis, 1 gives way. Empty if
// there is none.
Shape Broadcast(const Shape& a, const Shape& b) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape result = longer;
  const std::size_t shift = longer.size() - shorter.size();
  for (std::size_t i = 0; i < shorter.size(); ++i) {
    std::uint64_t& size = result[i + shift];
    if (size == shorter[i] || shorter[i] == 1) continue;
    if (size != 1) return {};
    size = shorter[i];
  }
  return result;
}

StatusOr<LayerPlan> PlanElementwise(const Layer& layer) {
  LayerPlan plan{.output = layer.input()};
  for (const Shape* input : layer.inputs) {
    plan.output = Broadcast(plan.output, *input);
    if (plan.output.empty()) return layer.Misfit("shapes that are equal or broadcast");
  }
  const std::uint64_t operations = layer.inputs.size() - 1;
  plan.multiply_adds = Product(operations, NumNumbers(plan.output));
  plan.num_kept = Product(operations - 1, NumNumbers(plan.output));  // Results on the way.
  return plan;
}

StatusOr<LayerPlan> PlanSlice(const Layer& layer) {
  const v1::Slice& slice = layer.node.slice();
  CHORALE_RETURN_IF_ERROR(CheckAxis(layer, slice.axis()));
  LayerPlan plan{.output = layer.input()};
  const std::uint64_t size = plan.output[slice.axis()];
  if (slice.begin() >= slice.end() || slice.end() > size) {
    return layer.AttributeError("end", "must be above begin (" + std::to_string(slice.begin()) +
                                           ") and at most " + std::to_string(size) + ", got " +
                                           std::to_string(slice.end()));
  }
  plan.output[slice.axis()] = slice.end() - slice.begin();
  if (!slice.drop_axis()) return plan;
  if (plan.output[slice.axis()] != 1 || plan.output.size() == 1) {
    return layer.AttributeError("drop_axis", "needs end to be begin + 1, and another axis");
  }
  plan.output.erase(plan.output.begin() + slice.axis());
  return plan;
}

StatusOr<LayerPlan> PlanDropout(const Layer& layer) {
  CHORALE_RETURN_IF_ERROR(layer.CheckRate("rate", layer.node.dropout().rate()));
  return LayerPlan{.output = layer.input(), .num_kept = NumNumbers(layer.input())};  // The mask.
}

}  // namespace

StatusOr<LayerPlan> PlanArrangement(const Layer& layer) {
  switch (layer.node.operation_case()) {
    case v1::GraphNode::kActivation:
      return PlanActivation(layer);
    case v1::GraphNode::kFlatten:
      return LayerPlan{.output = {NumNumbers(layer.input())}};
    case v1::GraphNode::kReshape:
      return PlanReshape(layer);
    case v1::GraphNode::kTranspose:
      return PlanTranspose(layer);
    case v1::GraphNode::kConcat:
      return PlanConcat(layer);
    case v1::GraphNode::kSlice:
      return PlanSlice(layer);
    case v1::GraphNode::kDropout:
      return PlanDropout(layer);
    default:
      return PlanElementwise(layer);
  }
}

}  // namespace chorale::models
