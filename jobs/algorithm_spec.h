#pragma once

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"

// The parts of a JobSpec that say how the reports of a round become the next model. Errors are
// config::FieldErrors.
namespace chorale::jobs {

// INVALID_ARGUMENT: no rule, a bound of job_spec.proto broken, or rounds that the rule cannot have.
[[nodiscard]] Status ValidateAggregation(const v1::AggregationSpec& aggregation,
                                         const v1::RoundsSpec& rounds);

// INVALID_ARGUMENT: a bound of job_spec.proto broken, or rounds that newton cannot have.
[[nodiscard]] Status ValidateNewton(const v1::NewtonSpec& newton, const v1::RoundsSpec& rounds);

// How updates are weighted in the mean that the rule takes; uniform for rules that take none.
[[nodiscard]] v1::Weighting WeightingOf(const v1::AggregationSpec& aggregation);

}  // namespace chorale::jobs
