#pragma once

#include <span>

// Sums of vectors that are the same, bit for bit, on every machine and for every number of threads:
// parallel over coordinates, serial over sites in the order given, double accumulators, no fused
// multiply-add.
namespace chorale::coordinator {

// sum[i] = sum over k of weights[k] * updates[k][i], rounded once to float32.
//   updates  [num_sites][num_parameters]   weights  [num_sites]   sum  [num_parameters]
// REQUIRES: equal sizes; num_threads >= 1.
void WeightedSum(std::span<const std::span<const float>> updates, std::span<const double> weights,
                 std::span<float> sum, int num_threads);

// next[i] = base[i] + sum over k of weights[k] * updates[k][i], rounded once to float32. `next` may
// be `base`.
void AddWeightedSum(std::span<const float> base, std::span<const std::span<const float>> updates,
                    std::span<const double> weights, std::span<float> next, int num_threads);

}  // namespace chorale::coordinator
