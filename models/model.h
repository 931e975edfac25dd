#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "chorale/v1/model.pb.h"
#include "core/parameters.h"
#include "core/status.h"
#include "models/graph.h"

// What a ModelSpec means, without LibTorch: its graph, layout and initial parameters. Used by
// coordinator, CLI and site alike.
namespace chorale::models {

// The zoo's name of the model: "logistic_regression", "mlp", ...; "graph" for a graph. Empty when
// no kind is set.
[[nodiscard]] std::string KindName(const v1::ModelSpec& spec);

// INVALID_ARGUMENT as a config::FieldError below `field` ("model"): no kind set, a bound of
// model.proto broken; for a graph, as GraphPlan::Create.
[[nodiscard]] Status Validate(const v1::ModelSpec& spec, std::string_view field);

// The graph of `spec` for examples of this many numbers: a graph as it is, a kind of the zoo
// expanded (zoo.h). INVALID_ARGUMENT: an unsound specification, no inputs, or as many as the model
// cannot take.
[[nodiscard]] StatusOr<GraphPlan> PlanOf(const v1::ModelSpec& spec, std::uint64_t num_inputs);

// Parameters to start from: the same on every machine for the same plan and seed. [num_parameters]
// REQUIRES: the caller holds plan.layout().size_bytes() for affordable; a specification of a few
// bytes can ask for 128 GB.
[[nodiscard]] ParameterVector InitialParameters(const GraphPlan& plan, std::uint64_t seed);

[[nodiscard]] v1::ParameterLayout ToProto(const ParameterLayout& layout);
// INVALID_ARGUMENT for a layout without tensors or one that ParameterLayout::Create refuses.
[[nodiscard]] StatusOr<ParameterLayout> FromProto(const v1::ParameterLayout& layout);

}  // namespace chorale::models
