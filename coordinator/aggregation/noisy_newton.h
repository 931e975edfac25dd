#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/status.h"

// A step of Newton's method from noisy sums of clipped gradients and Hessians, as in private jobs:
// pure, and post-processing of the sums, so that it costs no privacy.
namespace chorale::coordinator {

struct NoisyNewtonRules {
  double l2_penalty = 0;  // On every coefficient but the intercept. Exact: nothing of it is noisy.
  double damping = 1;     // Share of a step that is taken, in (0, 1].
  bool has_intercept = true;  // The last coefficient.
  // Standard deviation of the noise on the Hessian's diagonal; that of the numbers beside it is
  // 1 / sqrt(2) of it.
  double hessian_deviation = 0;
  // What a step is shortened to in the Euclidean norm; none where the loss is quadratic.
  std::optional<double> max_step = {};
};

// The next coefficients: with H' the symmetric matrix of `hessian` whose eigenvalues below a floor
// are raised to it, and L the penalty,
//   coefficients - damping (H' + L)^-1 (gradient + L coefficients).
// The floor is half of hessian_deviation * sqrt(2 p), where the largest eigenvalue of the noise
// itself lies (the edge of Wigner's semicircle): what is far below it is noise. Half of it gave the
// best models in experiments. It is at least 1e-10 of the largest eigenvalue. In a direction that
// few data tell of a step is thus shorter, and none goes uphill. Eigenvalues floored against noise:
// Ganesh et al. 2023 (arXiv 2305.13209); noisy Newton's method: Avella-Medina, Bradshaw and Loh
// 2021 (arXiv 2103.11003).
//
// gradient [p], hessian [p (p + 1) / 2], the upper triangle row by row. INVALID_ARGUMENT: sizes.
// FAILED_PRECONDITION: numbers that are not finite, a Hessian without a positive eigenvalue where
// there is no noise to floor it at, or a step that is not finite.
[[nodiscard]] StatusOr<std::vector<double>> StepNoisyNewton(const NoisyNewtonRules& rules,
                                                            std::span<const double> coefficients,
                                                            std::span<const double> gradient,
                                                            std::span<const double> hessian);

}  // namespace chorale::coordinator
