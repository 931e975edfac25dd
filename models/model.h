#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "chorale/v1/model.pb.h"
#include "core/parameters.h"
#include "core/status.h"

// What a ModelSpec means, without LibTorch: bounds, layout, initial parameters. Used by
// coordinator, CLI and site alike.
namespace chorale::models {

// The zoo's name of the model: "logistic_regression", "mlp". Empty when no kind is set.
[[nodiscard]] std::string KindName(const v1::ModelSpec& spec);

// INVALID_ARGUMENT as a config::FieldError below `field` ("model"): no kind set, a bound of
// model.proto broken.
[[nodiscard]] Status Validate(const v1::ModelSpec& spec, std::string_view field);

// The tensors of `spec` for this many inputs, in the order of the flat vector. INVALID_ARGUMENT: an
// unsound specification, no inputs, or more parameters than ParameterLayout takes. Allocates
// nothing of the model's size.
[[nodiscard]] StatusOr<ParameterLayout> LayoutOf(const v1::ModelSpec& spec,
                                                 std::uint64_t num_inputs);

// Parameters to start from: the same on every machine for the same spec, inputs and seed. Errors as
// LayoutOf. REQUIRES: the caller holds LayoutOf(...)->size_bytes() for affordable; a specification
// of a few bytes can ask for 128 GB.
[[nodiscard]] StatusOr<ParameterVector> InitialParameters(const v1::ModelSpec& spec,
                                                          std::uint64_t num_inputs,
                                                          std::uint64_t seed);

[[nodiscard]] v1::ParameterLayout ToProto(const ParameterLayout& layout);
// INVALID_ARGUMENT for a layout without tensors or one that ParameterLayout::Create refuses.
[[nodiscard]] StatusOr<ParameterLayout> FromProto(const v1::ParameterLayout& layout);

}  // namespace chorale::models
