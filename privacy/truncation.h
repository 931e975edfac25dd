#pragma once

#include "privacy/event.h"

namespace chorale::privacy {

// How often a Poisson batch that holds the unit is cut, and how likely the unit is then in it:
// what truncated Poisson sampling mixes (arXiv 2508.15089). Given a cut, another unit takes the
// place of one left out, so that the sum moves as under replace one.
struct Truncation {
  double cut_probability = 0;
  double rate_when_cut = 0;
};
[[nodiscard]] Truncation TruncationOf(const TruncatedPoissonGaussian& event);

}  // namespace chorale::privacy
