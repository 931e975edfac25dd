#pragma once

#include "privacy/event.h"
#include "privacy/rdp_curve.h"

namespace chorale::privacy {

// The curve of publishing the best of a random number of runs, from the curve of one run (Papernot
// and Steinke, arXiv 2110.03620: theorem 2 for the logarithmic and geometric distributions,
// theorem 6 for Poisson). REQUIRES: mean >= 1.
[[nodiscard]] RdpCurve RepeatedRdp(const RdpCurve& one_run,
                                   RepeatAndSelect::Repetitions repetitions, double mean);

}  // namespace chorale::privacy
