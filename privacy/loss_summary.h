#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "privacy/loss_distribution.h"

// What is known of a sum of losses before it is computed: bounds on its moments and its tails.
namespace chorale::privacy {

struct RepeatedLoss {
  const LossDistribution* distribution;
  std::uint64_t count;
};

struct WeightedLoss {
  double loss = 0;
  double mass = 0;
};

// A few thousand losses that bound every moment E[e^(t loss)] from above: within a block, mass
// moves to both ends so that the mean stays (convexity). Blocks widen with the distance from the
// mean.
struct LossSummary {
  std::vector<WeightedLoss> points;
  double mean = 0;
  double deviation = 0;
};

// Of the finite losses, with `masses` in place of the distribution's own.
[[nodiscard]] LossSummary Summarize(const LossDistribution& distribution,
                                    const std::vector<double>& masses);

// Masses times e^(t loss), normalised to 1 (Esscher); adds `count` times ln of the norm to
// `log_norm`.
[[nodiscard]] std::vector<double> Tilt(const RepeatedLoss& part, double t, double& log_norm);

// The summaries of a sum's independent parts.
class SumSummary {
 public:
  void Add(LossSummary part, std::uint64_t count);

  [[nodiscard]] double Mean() const;
  [[nodiscard]] double Deviation() const;
  // ln E[e^(t sum)], from above.
  [[nodiscard]] double LogMoment(double t) const;
  // A loss that the sum exceeds (`sign` 1) or falls short of (`sign` -1) with at most the
  // probability e^log_tail (Chernoff).
  [[nodiscard]] double TailLoss(double sign, double log_tail) const;
  // The t at which the Chernoff bound (LogMoment(t) - log_tail) / t on the loss, or, second,
  // LogMoment(t) - t loss on the tail's logarithm, is best.
  [[nodiscard]] double BestTiltForTail(double log_tail) const;
  [[nodiscard]] double BestTiltForLoss(double loss) const;
  // Between which t lie all that any bound wants.
  [[nodiscard]] std::pair<double, double> Reach() const;

 private:
  std::vector<LossSummary> parts_;
  std::vector<double> counts_;
};

}  // namespace chorale::privacy
