#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/status.h"

// An estimate with a 95 % interval, and the intervals that the metrics share.
namespace chorale::evaluation {

struct Estimate {
  double value = 0;
  double lower = 0;  // 95 % interval.
  double upper = 0;
};

// An estimate, or why there is none: "no rows", "one row", "one class", "a score is not finite".
struct Metric {
  std::optional<Estimate> estimate;
  std::string not_estimable;
};

[[nodiscard]] Metric NotEstimable(std::string reason);
[[nodiscard]] Metric Estimated(double value, double lower, double upper);

// Why no metric at all exists of these predictions, or null.
[[nodiscard]] const char* Unusable(std::span<const float> scores);

// Wilson 1927, equation 2, for a share observed among `trials`, which need not be whole.
[[nodiscard]] Metric Wilson(double share, double trials);

// Normal interval of the mean, not below `least`. Not estimable with fewer than two values.
[[nodiscard]] Metric MeanInterval(std::span<const double> values, double least);

// Of a share in [0, 1] that is a mean over pairs: normal on the logit scale, by the delta method.
// Where the variance says nothing, the interval rests on `num_disjoint`, a number of pairs that
// share no row and hence are independent:
// - share 1: [0.025^(1/k), 1], and mirrored for share 0. The exact binomial interval for k of k,
//   which covers at least as often as it says.
// - one pair, or a variance of 0: the Wilson interval for a share of k.
[[nodiscard]] Metric PairShareInterval(double share, double variance, std::size_t num_disjoint);

[[nodiscard]] double MeanOf(std::span<const double> values);
// With n - 1. REQUIRES: two values at least.
[[nodiscard]] double VarianceOf(std::span<const double> values);

}  // namespace chorale::evaluation
