#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "core/status.h"

// Discrimination and fit of probabilities against a binary target, each with a 95 % interval and a
// rule for when it does not exist.
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

// All three: scores [n] in [0, 1], targets [n] 0 or 1. REQUIRES: equal sizes.

// Share classified rightly at 0.5 (score >= 0.5 means 1); Wilson interval (Wilson 1927).
[[nodiscard]] Metric Accuracy(std::span<const float> scores, std::span<const float> targets);

// Area under the ROC curve, ties counted half; DeLong variance (DeLong et al. 1988, computed from
// midranks as Sun and Xu 2014: n log n) and a normal interval on the logit scale. Where that
// variance says nothing, the interval rests on k = min(positives, negatives), the number of
// disjoint, hence independent, pairs of a positive and a negative:
// - area 1: [0.025^(1/k), 1], and mirrored for area 0. The exact binomial interval for k of k,
//   which covers at least as often as it says.
// - one row of a class, or a variance of 0: the Wilson interval for a share of k, since the
//   variance is at most area (1 - area) / k (Birnbaum and Klose 1957).
// Not estimable with one class.
[[nodiscard]] Metric Auroc(std::span<const float> scores, std::span<const float> targets);

// Mean negative log-likelihood, scores kept within [1e-7, 1 - 1e-7]; normal interval of the mean,
// not below 0. Not estimable with fewer than two rows.
[[nodiscard]] Metric LogLoss(std::span<const float> scores, std::span<const float> targets);

}  // namespace chorale::evaluation
