#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/moments.h"

// What a researcher asks of a table: which columns, and how they become a model's inputs and
// targets.
namespace chorale::data {

// Inputs of a DataSpec, in the order of its features: one for a numeric feature and one more,
// behind it, for its missing indicator; levels - 1 for a categorical one; the product of the shape
// for an array. A specification that was not validated gives some number, never undefined
// behaviour.
[[nodiscard]] std::size_t NumInputs(const v1::DataSpec& spec);
[[nodiscard]] std::size_t NumNumericFeatures(const v1::DataSpec& spec);
// Numbers of one example's array; the largest std::uint64_t when there are more.
[[nodiscard]] std::uint64_t NumNumbers(const v1::ArrayFeature& feature);

// What the target of an example is, and its numbers in Examples::targets.
enum class TargetKind {
  kBinary,    // 1 for a positive value, else 0.
  kClass,     // The place of its value in `classes`.
  kNumber,    // The number itself.
  kSurvival,  // Two numbers: time, then 1 for an event and 0 for the end of observation.
};

// REQUIRES: Validate(spec).ok(), for both.
[[nodiscard]] TargetKind TargetKindOf(const v1::DataSpec& spec);
[[nodiscard]] std::size_t NumTargets(const v1::DataSpec& spec);

// True when sites standardise with what a preparation round found: FEDERATED, FEDERATED_ROBUST,
// FEDERATED_PRIVATE.
[[nodiscard]] bool IsFederated(v1::Standardization standardization);
// True when every numeric feature has a range, which its values are cut to: RANGE,
// FEDERATED_PRIVATE.
[[nodiscard]] bool HasRanges(v1::Standardization standardization);
// What standardization range makes of the feature: its range becomes [-1, 1]. REQUIRES: a valid
// feature with a range.
[[nodiscard]] Moments MomentsOf(const v1::ValueRange& range);

// INVALID_ARGUMENT as a config::FieldError below `field` ("data"): the bounds of job_spec.proto; a
// column named twice, or one that is feature and target at once; levels, positive values or classes
// that are the same value ("1" and "1.0"); no kind of target or two; a missing indicator without
// impute; a median without federated standardisation.
[[nodiscard]] Status Validate(const v1::DataSpec& spec, std::string_view field);

}  // namespace chorale::data
