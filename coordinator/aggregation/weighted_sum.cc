#include "coordinator/aggregation/weighted_sum.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

// The iterations of the next loop may run at once. GCC takes the width of vectors as an attribute,
// Clang chooses it.
#if defined(__clang__)
#define CHORALE_INDEPENDENT_ITERATIONS _Pragma("clang loop vectorize(assume_safety)")
#define CHORALE_AVX512 "avx512f"
#else
#define CHORALE_INDEPENDENT_ITERATIONS _Pragma("GCC ivdep")
#define CHORALE_AVX512 "avx512f,prefer-vector-width=512"
#endif

namespace chorale::coordinator {
namespace {

// Accumulators of one block stay in the first-level cache: 16 KiB.
constexpr std::size_t kBlock = 2048;
// Below this, starting threads costs more than summing.
constexpr std::size_t kLeastParallel = 64 * 1024;
// Sites whose values are added in one pass over a block, while the total stays in a register.
constexpr std::size_t kGroup = 8;

// One pass: the next kSites sites of a block. The first pass starts from zero, the last one writes
// the result; only passes between them need the accumulators.
template <typename Out>
struct Pass {
  const float* const* x;  // [kSites][size]
  const double* weights;  // [kSites]
  double* total;          // [size]
  Out* next;              // [size]
  std::size_t size;
};

// The order of additions is the order of sites, whatever the group. `next` may be one of x: each
// value is written after those of the same place have been read.
template <std::size_t kSites, bool kIsFirst, bool kIsLast, typename Out>
[[gnu::always_inline]] inline void AddSites(const Pass<Out>& pass) {
  const float* x[kSites];
  double w[kSites];
  for (std::size_t k = 0; k < kSites; ++k) {
    x[k] = pass.x[k];
    w[k] = pass.weights[k];
  }
  CHORALE_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < pass.size; ++i) {
    double sum = kIsFirst ? 0.0 : pass.total[i];
    for (std::size_t k = 0; k < kSites; ++k) sum += w[k] * static_cast<double>(x[k][i]);
    if constexpr (kIsLast) {
      pass.next[i] = static_cast<Out>(sum);
    } else {
      pass.total[i] = sum;
    }
  }
}

template <std::size_t kSites, typename Out>
[[gnu::always_inline]] inline void AddLastSites(const Pass<Out>& pass, bool is_first) {
  is_first ? AddSites<kSites, true, true>(pass) : AddSites<kSites, false, true>(pass);
}

template <typename Out>
[[gnu::always_inline]] inline void AddLastSites(const Pass<Out>& pass, bool is_first,
                                                std::size_t num_sites) {
  static_assert(kGroup == 8);
  switch (num_sites) {
    case 1:
      return AddLastSites<1>(pass, is_first);
    case 2:
      return AddLastSites<2>(pass, is_first);
    case 3:
      return AddLastSites<3>(pass, is_first);
    case 4:
      return AddLastSites<4>(pass, is_first);
    case 5:
      return AddLastSites<5>(pass, is_first);
    case 6:
      return AddLastSites<6>(pass, is_first);
    case 7:
      return AddLastSites<7>(pass, is_first);
    default:
      return AddLastSites<8>(pass, is_first);
  }
}

// All sites of one block. REQUIRES: at least one site.
template <typename Out>
struct Block {
  std::span<const std::span<const float>> updates;
  std::span<const double> weights;
  Out* next;
  std::size_t offset;
  std::size_t size;
};

template <typename Out>
[[gnu::always_inline]] inline void SumBlockBody(const Block<Out>& block) {
  alignas(64) double total[kBlock];
  const std::size_t num_sites = block.updates.size();
  for (std::size_t k = 0; k < num_sites; k += kGroup) {
    const std::size_t count = std::min(kGroup, num_sites - k);
    const float* x[kGroup];
    for (std::size_t j = 0; j < count; ++j) x[j] = block.updates[k + j].data() + block.offset;
    const Pass<Out> pass{x, block.weights.data() + k, total, block.next + block.offset, block.size};
    if (k + count == num_sites) {
      AddLastSites(pass, k == 0, count);
    } else {
      k == 0 ? AddSites<kGroup, true, false>(pass) : AddSites<kGroup, false, false>(pass);
    }
  }
}

template <typename Out>
void SumBlockPortable(const Block<Out>& block) {
  SumBlockBody(block);
}

template <typename Out>
using SumBlock = void (*)(const Block<Out>&);

#if defined(__x86_64__)
// Wider, and the same bits as the portable form: products and sums are rounded one by one, since
// this file is compiled without contraction.
template <typename Out>
[[gnu::target("avx2")]] void SumBlockAvx2(const Block<Out>& block) {
  SumBlockBody(block);
}
template <typename Out>
[[gnu::target(CHORALE_AVX512)]] void SumBlockAvx512(const Block<Out>& block) {
  SumBlockBody(block);
}

template <typename Out>
SumBlock<Out> ChooseSumBlock() {
  if (__builtin_cpu_supports("avx512f")) return SumBlockAvx512<Out>;
  return __builtin_cpu_supports("avx2") ? SumBlockAvx2<Out> : SumBlockPortable<Out>;
}
#else
template <typename Out>
SumBlock<Out> ChooseSumBlock() {
  return SumBlockPortable<Out>;
}
#endif

template <typename Out>
void SumAllBlocks(std::span<const std::span<const float>> updates, std::span<const double> weights,
                  std::span<Out> sum, int num_threads) {
  if (updates.empty()) {
    std::fill(sum.begin(), sum.end(), Out{0});
    return;
  }
  const SumBlock<Out> sum_block = ChooseSumBlock<Out>();
  const std::size_t size = sum.size();
  const auto num_blocks = static_cast<std::int64_t>((size + kBlock - 1) / kBlock);
#pragma omp parallel for schedule(static) num_threads(num_threads) if (size >= kLeastParallel)
  for (std::int64_t b = 0; b < num_blocks; ++b) {
    const std::size_t offset = static_cast<std::size_t>(b) * kBlock;
    sum_block({updates, weights, sum.data(), offset, std::min(kBlock, size - offset)});
  }
}

}  // namespace

void WeightedSum(std::span<const std::span<const float>> updates, std::span<const double> weights,
                 std::span<float> sum, int num_threads) {
  SumAllBlocks(updates, weights, sum, num_threads);
}

void WeightedSum(std::span<const std::span<const float>> updates, std::span<const double> weights,
                 std::span<double> sum, int num_threads) {
  SumAllBlocks(updates, weights, sum, num_threads);
}

}  // namespace chorale::coordinator
