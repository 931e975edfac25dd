#pragma once

#include <cstdint>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "jobs/noisy_sum.h"
#include "models/graph.h"
#include "training/newton_patients.h"

// Newton's method in a private job: every round is one noisy sum, over all patients of a site's
// training rows, of the vectors of training/newton_patients.h, whose length is at most 1. Everybody
// computes all of it from the signed specification alone.
namespace chorale::jobs {

// A job with both `newton` and `privacy`.
[[nodiscard]] bool IsPrivateNewton(const v1::JobSpec& spec);

// INVALID_ARGUMENT as a config::FieldError: a bound of job_spec.proto broken, or a part of
// `privacy` that noisy sums over all patients do not have. `plan` is that of the job's model.
// REQUIRES: a job with both.
[[nodiscard]] Status ValidatePrivateNewton(const v1::JobSpec& spec, const models::GraphPlan& plan);

// REQUIRES of all below: a valid job with both; `num_coefficients` are its model's.

[[nodiscard]] training::NewtonBounds NewtonBoundsOf(const v1::JobSpec& spec,
                                                    std::uint64_t num_coefficients);
// The sum of one round.
[[nodiscard]] NoisySum NewtonSumOf(const v1::JobSpec& spec, std::uint64_t num_coefficients);

// Standard deviations of the noise in a sum over sites, where it is as large as the accounting
// asks for: on each number of the gradient, and on each number of the Hessian's diagonal; the
// others have that of the diagonal over sqrt(2). Where more than the least number of honest sites
// are in a sum it has more. REQUIRES: a noise multiplier.
struct NewtonDeviations {
  double gradient = 0;
  double hessian = 0;
};
[[nodiscard]] NewtonDeviations NewtonDeviationsOf(const v1::JobSpec& spec,
                                                  std::uint64_t num_coefficients);

}  // namespace chorale::jobs
