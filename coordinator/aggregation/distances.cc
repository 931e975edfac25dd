#include "coordinator/aggregation/distances.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace chorale::coordinator {
namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::size_t kLeastParallel = 64 * 1024;
// Sums that run beside one another, so that the compiler may use vector instructions: it must not
// change the order of additions by itself.
constexpr std::size_t kLanes = 8;

template <bool kHasB>
double SumOfBlock(const float* a, const float* b, std::size_t size) {
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      double difference = static_cast<double>(a[i + lane]);
      if constexpr (kHasB) difference -= static_cast<double>(b[i + lane]);
      lanes[lane] += difference * difference;
    }
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  for (; i < size; ++i) {
    double difference = static_cast<double>(a[i]);
    if constexpr (kHasB) difference -= static_cast<double>(b[i]);
    sum += difference * difference;
  }
  return sum;
}

}  // namespace

void AddSquaredDistances(std::span<const VectorPair> pairs, std::span<double> totals,
                         int num_threads) {
  if (pairs.empty()) return;
  const std::size_t size = pairs.front().a.size();
  const std::size_t num_blocks = (size + kBlock - 1) / kBlock;
  // Every block of every pair by itself, then added in order.
  std::vector<double> sums(pairs.size() * num_blocks);
  const auto num_sums = static_cast<std::int64_t>(sums.size());
#pragma omp parallel for schedule(static) \
    num_threads(num_threads) if (size * pairs.size() >= kLeastParallel)
  for (std::int64_t s = 0; s < num_sums; ++s) {
    const VectorPair& pair = pairs[static_cast<std::size_t>(s) / num_blocks];
    const std::size_t offset = static_cast<std::size_t>(s) % num_blocks * kBlock;
    const std::size_t count = std::min(kBlock, size - offset);
    const float* a = pair.a.data() + offset;
    sums[static_cast<std::size_t>(s)] = pair.b.empty()
                                            ? SumOfBlock<false>(a, nullptr, count)
                                            : SumOfBlock<true>(a, pair.b.data() + offset, count);
  }
  for (std::size_t j = 0; j < pairs.size(); ++j) {
    for (std::size_t b = 0; b < num_blocks; ++b) totals[j] += sums[j * num_blocks + b];
  }
}

}  // namespace chorale::coordinator
