#pragma once

#include <span>

// Mean and standard deviation of numeric features, and the sums from which a federation computes
// them.
namespace chorale::data {

// Sums over training rows of one numeric feature: what federated standardisation adds up.
struct MomentSums {
  double count = 0;
  double sum = 0;
  double sum_of_squares = 0;
};

// How one numeric feature is prepared: (value - mean) / standard_deviation, a missing value first
// replaced by `imputed`.
struct Moments {
  double mean = 0;                // Or the median, under robust standardisation.
  double standard_deviation = 1;  // Above 0.
  double imputed = 0;             // In the column's unit; unused by a feature without impute.
};

// Sample moments (n - 1); the deviation is 1 for a constant column or fewer than two values. Both
// functions leave `imputed` at 0.
//
// The variance is a difference of two sums, which cancel when a column's mean is large beside its
// spread: a result below what rounding leaves behind (a deviation under 3e-7 of the mean) cannot be
// told from a constant column and is taken for one. Sums that are not finite give the moments 0
// and 1.
[[nodiscard]] Moments MomentsOf(const MomentSums& sums);

// Sample moments of `values`, in two passes: no cancellation.
[[nodiscard]] Moments MomentsOf(std::span<const double> values);

// Sums of `values`, each as exact as one rounding (compensated summation, Neumaier 1974).
[[nodiscard]] MomentSums SumsOf(std::span<const double> values);

}  // namespace chorale::data
