#pragma once

#include <span>

namespace chorale::coordinator {

// Two vectors of one size; no second one stands for zeros.
struct VectorPair {
  std::span<const float> a;
  std::span<const float> b = {};
};

// totals[j] += the sum over i of (a[i] - b[i])^2 of pair j, in double precision: the same for any
// number of threads, and for the same vectors in pieces that begin at multiples of 4096.
// REQUIRES: as many totals as pairs; all vectors of one size.
void AddSquaredDistances(std::span<const VectorPair> pairs, std::span<double> totals,
                         int num_threads);

}  // namespace chorale::coordinator
