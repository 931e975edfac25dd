#include "privacy/calibration.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "privacy/statement.h"

namespace chorale::privacy {
namespace {

constexpr double kLeastNoise = 0.01;
constexpr double kLargestNoise = 1e6;
constexpr std::uint64_t kMostSteps = 1'000'000'000;
constexpr double kPrecision = 1e-6;

Status CheckTarget(const Target& target) {
  if (target.epsilon > 0 && std::isfinite(target.epsilon)) return OkStatus();
  std::ostringstream text;
  text << "target epsilon must be above 0 and finite, got " << target.epsilon;
  return InvalidArgument(text.str());
}

Status OutOfReach(const Target& target, const AccountingOptions& options, const Guarantee& best,
                  std::string_view with) {
  std::ostringstream text;
  text << "target epsilon " << target.epsilon << " at delta " << target.delta
       << " is out of reach of accountant " << NameOf(options.accountant) << ": " << with
       << " gives epsilon " << best.epsilon;
  if (options.accountant == AccountantKind::kRdp) text << "; pld may reach it";
  return FailedPrecondition(text.str());
}

// One guess and what it gave.
struct Trial {
  double noise = 0;
  Guarantee guarantee;
};

}  // namespace

StatusOr<CalibratedNoise> CalibrateNoise(const std::function<Event(double)>& event_with,
                                         const Target& target, const AccountingOptions& options) {
  CHORALE_RETURN_IF_ERROR(CheckTarget(target));
  const auto attempt = [&](double noise) -> StatusOr<Trial> {
    CHORALE_ASSIGN_OR_RETURN(const Guarantee guarantee,
                             EpsilonFor(event_with(noise), target.delta, options));
    return Trial{.noise = noise, .guarantee = guarantee};
  };
  // Of ln(epsilon / target): positive while there is too little noise.
  const auto excess = [&](const Trial& trial) {
    return std::log(std::max(trial.guarantee.epsilon, 1e-300)) - std::log(target.epsilon);
  };

  CHORALE_ASSIGN_OR_RETURN(Trial enough, attempt(1));
  Trial little = enough;
  while (excess(enough) > 0) {
    if (enough.noise >= kLargestNoise) {
      return OutOfReach(target, options, enough.guarantee, "a noise multiplier of 1e6");
    }
    little = enough;
    CHORALE_ASSIGN_OR_RETURN(enough, attempt(std::min(kLargestNoise, 2 * enough.noise)));
  }
  while (excess(little) <= 0) {
    enough = little;
    if (little.noise <= kLeastNoise) {
      return CalibratedNoise{.noise_multiplier = enough.noise, .guarantee = enough.guarantee};
    }
    CHORALE_ASSIGN_OR_RETURN(little, attempt(std::max(kLeastNoise, little.noise / 2)));
  }

  // False position on ln(noise), where ln(epsilon) is nearly a line; every third guess halves.
  const auto is_close = [&] {
    return enough.noise < little.noise * (1 + kPrecision) || excess(enough) > -kPrecision;
  };
  for (int i = 0; i < 100 && !is_close(); ++i) {
    const double low = std::log(little.noise);
    const double high = std::log(enough.noise);
    const double above = excess(little);
    const double below = excess(enough);
    double next = (low + high) / 2;
    if (i % 3 != 2 && std::isfinite(above) && std::isfinite(below)) {
      // A little beyond the line's zero, in turn to either side, so that both ends close in.
      const double nudge = (i % 2 == 0 ? 0.02 : -0.02) * (high - low);
      const double zero = low + (high - low) * above / (above - below) + nudge;
      if (zero > low && zero < high) next = zero;
    }
    CHORALE_ASSIGN_OR_RETURN(const Trial middle, attempt(std::exp(next)));
    (excess(middle) > 0 ? little : enough) = middle;
  }
  CHORALE_ASSIGN_OR_RETURN(const Trial rounded, attempt(RoundUp(enough.noise, 7)));
  const Trial& best = excess(rounded) <= 0 ? rounded : enough;
  return CalibratedNoise{.noise_multiplier = best.noise, .guarantee = best.guarantee};
}

StatusOr<CalibratedSteps> CalibrateSteps(const std::function<Event(std::uint64_t)>& event_with,
                                         const Target& target, const AccountingOptions& options) {
  CHORALE_RETURN_IF_ERROR(CheckTarget(target));
  const auto attempt = [&](std::uint64_t steps) -> StatusOr<CalibratedSteps> {
    CHORALE_ASSIGN_OR_RETURN(const Guarantee guarantee,
                             EpsilonFor(event_with(steps), target.delta, options));
    return CalibratedSteps{.steps = steps, .guarantee = guarantee};
  };
  CHORALE_ASSIGN_OR_RETURN(CalibratedSteps best, attempt(1));
  if (best.guarantee.epsilon > target.epsilon) {
    return OutOfReach(target, options, best.guarantee, "a single step");
  }
  std::uint64_t too_many = kMostSteps + 1;
  while (best.steps < kMostSteps) {
    CHORALE_ASSIGN_OR_RETURN(const CalibratedSteps next,
                             attempt(std::min(kMostSteps, best.steps * 2)));
    if (next.guarantee.epsilon > target.epsilon) {
      too_many = next.steps;
      break;
    }
    best = next;
  }
  while (too_many - best.steps > 1) {
    CHORALE_ASSIGN_OR_RETURN(const CalibratedSteps middle,
                             attempt(best.steps + (too_many - best.steps) / 2));
    if (middle.guarantee.epsilon > target.epsilon) {
      too_many = middle.steps;
    } else {
      best = middle;
    }
  }
  return best;
}

}  // namespace chorale::privacy
