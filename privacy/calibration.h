#pragma once

#include <cstdint>
#include <functional>

#include "core/status.h"
#include "privacy/accountant.h"
#include "privacy/event.h"

// The least noise, or the most steps, within a target.
namespace chorale::privacy {

// Both hold: the event re-evaluates to at most `epsilon` at `delta`.
struct Target {
  double epsilon = 0;
  double delta = 0;
};

struct CalibratedNoise {
  double noise_multiplier = 0;  // Seven significant digits.
  Guarantee guarantee;          // What it gives; its epsilon is at most the target.
};

// The least noise multiplier in [0.01, 1e6] for which `event_with(noise)` stays within the target:
// it, or its epsilon, within 1e-6 of the best, relative. INVALID_ARGUMENT as EpsilonFor;
// FAILED_PRECONDITION when even 1e6 is not enough, with what it gives. REQUIRES: less noise never
// gives a smaller epsilon.
[[nodiscard]] StatusOr<CalibratedNoise> CalibrateNoise(
    const std::function<Event(double)>& event_with, const Target& target,
    const AccountingOptions& options);

struct CalibratedSteps {
  std::uint64_t steps = 0;
  Guarantee guarantee;
};

// The most steps up to 1e9 for which `event_with(steps)` stays within the target.
// FAILED_PRECONDITION when a single one exceeds it, with what it gives.
[[nodiscard]] StatusOr<CalibratedSteps> CalibrateSteps(
    const std::function<Event(std::uint64_t)>& event_with, const Target& target,
    const AccountingOptions& options);

}  // namespace chorale::privacy
