#include "models/model.h"

#include <google/protobuf/descriptor.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "core/config/yaml.h"
#include "models/zoo.h"

namespace chorale::models {

std::string KindName(const v1::ModelSpec& spec) {
  if (spec.kind_case() == v1::ModelSpec::KIND_NOT_SET) return "";
  return v1::ModelSpec::descriptor()->FindFieldByNumber(spec.kind_case())->name();
}

Status Validate(const v1::ModelSpec& spec, std::string_view field) {
  if (!spec.has_graph()) return ValidateZoo(spec, field);
  return GraphPlan::Create(spec.graph(), std::string(field) + ".graph").status();
}

StatusOr<GraphPlan> PlanOf(const v1::ModelSpec& spec, std::uint64_t num_inputs) {
  if (!spec.has_graph()) {
    CHORALE_ASSIGN_OR_RETURN(v1::ModelGraph graph, ExpandZoo(spec, num_inputs, "model"));
    StatusOr<GraphPlan> plan = GraphPlan::Create(std::move(graph), "graph");
    if (plan.ok()) return plan;
    // Sizes that each are sound and together are not. The graph's own path is in nobody's file.
    return config::FieldError("model." + KindName(spec),
                              "cannot be made for " + std::to_string(num_inputs) +
                                  " inputs: " + MessageOf(plan.status()));
  }
  CHORALE_ASSIGN_OR_RETURN(GraphPlan plan, GraphPlan::Create(spec.graph(), "model.graph"));
  if (plan.num_inputs() == num_inputs) return plan;
  return config::FieldError("model.graph.inputs", "must take as many numbers as an example has (" +
                                                      std::to_string(num_inputs) + "), got " +
                                                      std::to_string(plan.num_inputs()));
}

v1::ParameterLayout ToProto(const ParameterLayout& layout) {
  v1::ParameterLayout proto;
  for (const TensorLayout& tensor : layout.tensors()) {
    v1::TensorLayout& out = *proto.add_tensors();
    out.set_name(tensor.name);
    for (const std::uint64_t dimension : tensor.shape) out.add_shape(dimension);
  }
  return proto;
}

StatusOr<ParameterLayout> FromProto(const v1::ParameterLayout& layout) {
  if (layout.tensors_size() == 0) return InvalidArgument("layout: must have at least 1 tensor");
  std::vector<ParameterLayout::Tensor> tensors;
  tensors.reserve(static_cast<std::size_t>(layout.tensors_size()));
  for (const v1::TensorLayout& tensor : layout.tensors()) {
    tensors.push_back({tensor.name(), {tensor.shape().begin(), tensor.shape().end()}});
  }
  return ParameterLayout::Create(std::move(tensors));
}

}  // namespace chorale::models
