#pragma once

#include <span>

// Sums of vectors that are the same, bit for bit, on every machine and for every number of threads:
// parallel over coordinates, serial over sites in the order given, double accumulators, no fused
// multiply-add.
namespace chorale::coordinator {

// sum[i] = sum over k of weights[k] * updates[k][i], rounded once to float32.
//   updates  [num_sites][num_parameters]   weights  [num_sites]   sum  [num_parameters]
// `sum` may be one of the updates. REQUIRES: equal sizes; num_threads >= 1.
void WeightedSum(std::span<const std::span<const float>> updates, std::span<const double> weights,
                 std::span<float> sum, int num_threads);

// The same without rounding to float32.
void WeightedSum(std::span<const std::span<const float>> updates, std::span<const double> weights,
                 std::span<double> sum, int num_threads);

}  // namespace chorale::coordinator
