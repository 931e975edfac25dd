#include "training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace chorale::training {
namespace {

// `rounds` are those behind this step, a part of the present one included.
double DecayAt(const v1::LearningRateSchedule& schedule, const RoundPlace& place, double rounds) {
  switch (schedule.kind_case()) {
    case v1::LearningRateSchedule::kStepDecay:
      return std::pow(schedule.step_decay().factor(),
                      (place.round - 1) / std::max(1u, schedule.step_decay().every_rounds()));
    case v1::LearningRateSchedule::kCosine: {
      // A round behind the last one, such as personalisation, stays at the floor.
      const double share = std::min(1.0, rounds / std::max(1u, place.num_rounds));
      const double floor = schedule.cosine().floor();
      return floor + (1 - floor) * (1 + std::cos(std::numbers::pi * share)) / 2;
    }
    case v1::LearningRateSchedule::kExponential:
      return std::pow(schedule.exponential().factor(), rounds);
    case v1::LearningRateSchedule::KIND_NOT_SET:
      break;
  }
  return 1;
}

}  // namespace

double RateFactor(const v1::LearningRateSchedule& schedule, const RoundPlace& place,
                  std::uint64_t steps_per_round, std::uint64_t step) {
  const double rounds =
      place.round - 1 + static_cast<double>(step) / static_cast<double>(steps_per_round);
  double factor = DecayAt(schedule, place, rounds);
  if (schedule.warmup_steps() > 0) {
    const double steps =
        static_cast<double>(place.round - 1) * static_cast<double>(steps_per_round) +
        static_cast<double>(step) + 1;
    factor *= std::min(1.0, steps / schedule.warmup_steps());
  }
  return factor;
}

}  // namespace chorale::training
