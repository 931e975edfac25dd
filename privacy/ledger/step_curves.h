#pragma once

#include <memory>

#include "core/status.h"
#include "privacy/event.h"
#include "privacy/rdp_curve.h"

namespace chorale::privacy {

// What one step costs, at the orders of a ledger. Curves take milliseconds, and most jobs, ledgers
// and readings of ledgers have the same few steps: they are kept for the whole process. Safe for
// concurrent use. Errors as of ComputeRdpCurve.
[[nodiscard]] StatusOr<std::shared_ptr<const RdpCurve>> CurveOfStep(const Event& step,
                                                                    NeighboringRelation relation);

}  // namespace chorale::privacy
