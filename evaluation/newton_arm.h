#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/examples.h"
#include "training/newton_sums.h"

// What newton solves, for rows that lie in one place: the local and the centralized arm of such a
// job. Written apart from the coordinator's solver on purpose: that both come to the same
// coefficients says something.
namespace chorale::evaluation {

struct NewtonSolution {
  std::vector<double> coefficients;  // [NumCoefficients(kind, num_inputs)]
  std::uint32_t num_steps = 0;
};

// Newton's method from zero: full steps of `rules.damping`, halved while they raise the penalised
// loss; a singular Hessian is inverted in its range. Ends when half the squared Newton decrement is
// below `rules.tolerance`, after 200 steps, or when no step lowers the loss. FAILED_PRECONDITION:
// sums that are not finite; CANCELLED.
[[nodiscard]] StatusOr<NewtonSolution> SolveNewton(training::NewtonKind kind,
                                                   const data::ExactExamples& rows,
                                                   const v1::NewtonSpec& rules,
                                                   const std::atomic<bool>* cancelled);

}  // namespace chorale::evaluation
