#pragma once

#include <cstddef>
#include <span>

#include "core/status.h"
#include "privacy/loss_summary.h"

namespace chorale::privacy {

// What the composition is asked, because the answer decides where it must be precise.
struct TailQuestion {
  enum class Kind { kEpsilonAtDelta, kDeltaAtEpsilon };
  Kind kind = Kind::kEpsilonAtDelta;
  double value = 0;
};

// Most grid points that a composition takes: 200 MB and a second.
inline constexpr std::size_t kMaxGridPoints = std::size_t{1} << 22;

// The epsilon or delta of the sum of independent losses, one grid for all, from above, by fast
// Fourier transforms: the masses are tilted by e^(t loss) (Esscher), with t where the Chernoff
// bound at the question is best, their spectra raised to the counts and multiplied, and the tilt
// taken back. Rounding is then relative to the masses that the answer is made of, however small
// delta is. Losses above those that a transform covers count as infinite.
//
// RESOURCE_EXHAUSTED when it would take more than kMaxGridPoints; `points_wanted` then says how
// many, so that the caller can choose a wider interval.
//
// REQUIRES: at least one part, counts of at least 1, equal intervals.
[[nodiscard]] StatusOr<double> AnswerOfSum(std::span<const RepeatedLoss> parts,
                                           const TailQuestion& question, double& points_wanted);

}  // namespace chorale::privacy
