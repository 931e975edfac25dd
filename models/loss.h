#pragma once

#include <cstdint>
#include <string>

#include "chorale/v1/model.pb.h"
#include "core/status.h"
#include "models/graph.h"

// What a Loss says, and what it asks of a model's output.
namespace chorale::models {

// INVALID_ARGUMENT as a config::FieldError below `field` ("model.mlp.loss"): no kind, a bound of
// model.proto broken. An unset Loss is not passed here: see FillDefaults.
[[nodiscard]] Status ValidateLoss(const v1::Loss& loss, const std::string& field);

// Parts of a loss that a model of the zoo may ask for itself; errors at `field`.
using IntervalEnds = google::protobuf::RepeatedField<double>;
[[nodiscard]] Status ValidateTies(v1::CoxTies ties, const std::string& field);
[[nodiscard]] Status ValidateIntervals(const IntervalEnds& ends, const std::string& field);

// Writes out what is left to a default; a loss without a kind stays as it is.
void FillDefaults(v1::Loss& loss);

// Outputs that the loss asks for; 0: any number (one for each target). REQUIRES: a sound loss.
[[nodiscard]] std::uint64_t NumOutputsOf(const v1::Loss& loss);

// INVALID_ARGUMENT at `field` unless the loss can take a value of this shape. REQUIRES: a sound
// loss.
[[nodiscard]] Status CheckOutput(const v1::Loss& loss, const Shape& output,
                                 const std::string& field);

}  // namespace chorale::models
