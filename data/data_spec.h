#pragma once

#include <cstddef>
#include <string_view>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"

// What a researcher asks of a table: which columns, and how they become a model's inputs.
namespace chorale::data {

// Inputs of a DataSpec: one for a numeric feature, levels - 1 for a categorical one.
[[nodiscard]] std::size_t NumInputs(const v1::DataSpec& spec);
[[nodiscard]] std::size_t NumNumericFeatures(const v1::DataSpec& spec);

// INVALID_ARGUMENT as a config::FieldError below `field` ("data"): the bounds of jobs.proto; a
// column named twice, or one that is feature and target at once; levels or positive values that are
// the same value ("1" and "1.0").
[[nodiscard]] Status Validate(const v1::DataSpec& spec, std::string_view field);

}  // namespace chorale::data
