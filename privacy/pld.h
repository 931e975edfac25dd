#pragma once

#include <optional>

#include "core/status.h"
#include "privacy/event.h"
#include "privacy/loss_composition.h"

// The accountant that composes privacy loss distributions: tight, for schedules fixed beforehand.
namespace chorale::privacy {

// Deltas from this one up are answered: below, the tails that a step's distribution leaves out
// would show.
inline constexpr double kLeastPldDelta = 1e-14;
// Interval of the grid of losses unless told otherwise; published figures use the same.
inline constexpr double kPldInterval = 1e-4;

struct PldAnswer {
  double value = 0;     // The epsilon or the delta asked for.
  double interval = 0;  // Of the grid; 0 when no grid was needed.
};

// Answers `question` over both ways of adding and removing, or over replacing: the worse one, from
// above. Sums over all units with Gaussian noise are composed exactly, and alone answered by the
// analytic formula.
//
// `interval` in [1e-7, 1]: of the grid. Without it 1e-4, or, where a step's losses deviate by less
// than that, an eighth of their deviation, since a grid coarser than what it holds would count far
// too much. Either is doubled until the grid fits into memory.
//
// INVALID_ARGUMENT: the event is not valid or has no rule, delta is not in [kLeastPldDelta, 1) when
// a grid is needed or not in (0, 1) at all, epsilon is below 0. Uses up to two threads and 400 MB.
[[nodiscard]] StatusOr<PldAnswer> AnswerByPld(const Event& event, NeighboringRelation relation,
                                              const TailQuestion& question,
                                              std::optional<double> interval);

}  // namespace chorale::privacy
