#pragma once

#include <cstdint>
#include <string_view>

#include "chorale/v1/model.pb.h"
#include "core/status.h"

// The models by name, as graphs: one function a family in zoo_*.cc. README tells what each is for.
namespace chorale::models {

// INVALID_ARGUMENT as a config::FieldError below `field` ("model"): no kind of the zoo, a bound of
// model.proto broken.
[[nodiscard]] Status ValidateZoo(const v1::ModelSpec& spec, std::string_view field);

// The graph that `spec` is short for. INVALID_ARGUMENT as ValidateZoo, and: no inputs, or as many
// as the model cannot share out. Not checked further: GraphPlan::Create does.
[[nodiscard]] StatusOr<v1::ModelGraph> ExpandZoo(const v1::ModelSpec& spec,
                                                 std::uint64_t num_inputs, std::string_view field);

}  // namespace chorale::models
