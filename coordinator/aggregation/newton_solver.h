#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "core/status.h"

// Damped Newton-Raphson over sums that sites report (training/newton_sums.h): pure, one step a
// round. Federated coefficients equal pooled ones, because sums over sites are sums over rows.
namespace chorale::coordinator {

struct NewtonRules {
  double l2_penalty = 0;      // On every coefficient but the intercept.
  double damping = 1;         // In (0, 1].
  double tolerance = 1e-10;   // Of half the squared Newton decrement.
  bool has_intercept = true;  // The last coefficient.
};

// What a step needs to know of the one before. Travels as little-endian float64:
// [loss, rows, trial share, best (p), direction (p), scale (p)]; empty before the first step.
struct NewtonState {
  double loss = 0;   // Penalised, at `best`.
  double rows = 0;   // Behind that loss.
  double share = 1;  // Of `direction` that was last tried.
  // The coefficients of the lowest loss so far: where a step that raised the loss is halved from,
  // and the solution when none lowers it any more.
  std::vector<double> best;
  std::vector<double> direction;  // Tried from there.
  // Square roots of the Hessian's diagonal at the first point: what makes coefficients of columns
  // in different units comparable. Above 0.
  std::vector<double> scale;
};
[[nodiscard]] std::vector<double> Encode(const NewtonState& state);
// No numbers are the state before the first step. INVALID_ARGUMENT for numbers that Encode did not
// write.
[[nodiscard]] StatusOr<NewtonState> DecodeNewtonState(std::span<const double> numbers,
                                                      std::size_t num_coefficients);

struct NewtonStep {
  std::vector<double> coefficients;  // Where the sites evaluate next, or the solution.
  NewtonState state;
  std::string converged = {};  // Why no further step is needed; empty: go on.
  std::string warning = {};    // For people: collinear columns, separation; empty: none.
  // Coefficients that depend on one another or that the data say nothing of; empty: none.
  std::vector<std::size_t> collinear = {};
};

// One step from the sums of all sites at `coefficients`.
//
// Half the squared Newton decrement is what a step would lower the loss by if the loss were
// quadratic. The method has converged when it is at most `tolerance`, or at most 1e-18 (1 +
// |loss|), where rounding is all that is left; the step that is then still known is taken, in full
// when it is under 1e-6, since it can only improve the solution there, and not at all otherwise.
//
// A step that raised the loss (by more than 1e-12 of it, which rounding can do) is halved, up to 30
// times; then the best point is the solution. When the rows behind the sums are not those of the
// step before (a site stayed out), losses cannot be compared and the step is taken as it is.
//
// Columns are scaled by the state's `scale`. Directions in which the scaled Hessian has less than
// 1e-11 of its largest eigenvalue are left out: collinear columns, a constant one. From a start at
// zero that leaves the solution of smallest scaled norm, with a warning.
//
// Separation: the likelihood grows for ever along a direction without penalty, in steps that keep
// their length while the loss hardly falls. It is taken for that when half the squared decrement is
// at most 1e-4, the scaled length of the step above 0.1, and no less than (1 - damping / 2) of the
// step before, which a step of a solution that exists would be. Then the best point is the
// solution, with a warning that proposes l2_penalty.
//
// INVALID_ARGUMENT: sizes. FAILED_PRECONDITION: sums that are not finite, or with a Hessian that no
// convex loss has: a site reported something else.
[[nodiscard]] StatusOr<NewtonStep> StepNewton(const NewtonRules& rules,
                                              std::span<const double> coefficients,
                                              std::span<const double> sums,
                                              const NewtonState& state);

}  // namespace chorale::coordinator
