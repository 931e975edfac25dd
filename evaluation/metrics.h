#pragma once

#include <cstddef>
#include <span>

#include "evaluation/intervals.h"

// Discrimination, fit and error of predictions, each with a 95 % interval and a rule for when it
// does not exist.
namespace chorale::evaluation {

// ---- A binary target. scores [n] in [0, 1], targets [n] 0 or 1. REQUIRES: equal sizes.

// Share classified rightly at 0.5 (score >= 0.5 means 1); Wilson interval (Wilson 1927).
[[nodiscard]] Metric Accuracy(std::span<const float> scores, std::span<const float> targets);

// Area under the ROC curve, ties counted half; DeLong variance (DeLong et al. 1988, computed from
// midranks as Sun and Xu 2014: n log n) in PairShareInterval, whose disjoint pairs of a positive
// and a negative are min(positives, negatives): with one row of a class or a variance of 0, the
// variance is at most area (1 - area) / pairs (Birnbaum and Klose 1957). Not estimable with one
// class.
[[nodiscard]] Metric Auroc(std::span<const float> scores, std::span<const float> targets);

// Mean negative log-likelihood, scores kept within [1e-7, 1 - 1e-7]; normal interval of the mean,
// not below 0. Not estimable with fewer than two rows.
[[nodiscard]] Metric LogLoss(std::span<const float> scores, std::span<const float> targets);

// ---- Classes. scores [n, num_classes] probabilities, targets [n] the class's number.
// REQUIRES: scores.size() == targets.size() * num_classes; num_classes >= 2.

// Share whose largest score is the right class, the first of equal ones; Wilson interval.
[[nodiscard]] Metric ClassAccuracy(std::span<const float> scores, std::span<const float> targets,
                                   std::size_t num_classes);

// Mean over the classes of the area under the ROC curve of that class against all others. The
// variance is the infinitesimal jackknife of the mean, which respects that the areas share their
// rows; disjoint pairs are those of the rarest class. Not estimable when a class has no row.
[[nodiscard]] Metric MacroAuroc(std::span<const float> scores, std::span<const float> targets,
                                std::size_t num_classes);

// As LogLoss, of the probability given to the right class.
[[nodiscard]] Metric ClassLogLoss(std::span<const float> scores, std::span<const float> targets,
                                  std::size_t num_classes);

// ---- Numbers. predictions [n], targets [n]. REQUIRES: equal sizes.
// All three are not estimable with fewer than two rows.

// Root of the mean squared error; the normal interval of the mean square, on the scale of the root.
[[nodiscard]] Metric RootMeanSquaredError(std::span<const float> predictions,
                                          std::span<const float> targets);
// Normal interval of the mean, not below 0.
[[nodiscard]] Metric MeanAbsoluteError(std::span<const float> predictions,
                                       std::span<const float> targets);
// 1 - squared errors / squared deviations from the mean of these rows: below 0 where that mean
// predicts better. Normal interval by the delta method, not above 1. Not estimable when all targets
// are equal.
[[nodiscard]] Metric Determination(std::span<const float> predictions,
                                   std::span<const float> targets);

// ---- Survival. risks [n], larger is sooner; targets [n, 2] time, then event (0 or 1).
// REQUIRES: targets.size() == 2 * risks.size().

// Concordance index (Harrell et al. 1982): among comparable pairs, the share in which the row that
// had its event sooner has the larger risk, equal risks counted half. A pair is comparable when the
// sooner row had its event; of two rows with the same time, when exactly one had its event, which
// then counts as the sooner (as lifelines and scikit-survival do). The variance is the
// infinitesimal jackknife of the ratio (as survival::concordance of R), in PairShareInterval; n log
// n. Not estimable without a comparable pair.
[[nodiscard]] Metric Concordance(std::span<const float> risks, std::span<const float> targets);

}  // namespace chorale::evaluation
