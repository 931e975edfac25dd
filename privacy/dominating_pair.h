#pragma once

#include "core/status.h"
#include "privacy/event.h"
#include "privacy/loss_distribution.h"

namespace chorale::privacy {

// What a leaf's outcomes on neighbouring datasets are at worst, one way. Removing and adding a unit
// are two ways, of which neither is always the worse; replacing is one, being its own reverse.
//
// INVALID_ARGUMENT when there is no rule: repeat-and-select, and sampled Laplace noise under
// replace one. REQUIRES: the leaf is valid and its noise above 0; kRemove or kAdd.
[[nodiscard]] StatusOr<DominatingPair> DominatingPairOf(const CountedLeaf& leaf,
                                                        NeighboringRelation relation,
                                                        Direction direction);

}  // namespace chorale::privacy
