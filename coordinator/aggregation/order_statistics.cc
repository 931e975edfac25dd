#include "coordinator/aggregation/order_statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace chorale::coordinator {
namespace {

// Coordinates that are sorted together, one in each lane.
constexpr std::size_t kBlock = 256;
constexpr std::size_t kLeastParallel = 16 * 1024;

struct Comparator {
  std::size_t low;
  std::size_t high;
};

// Batcher's merge exchange (Knuth, The Art of Computer Programming, volume 3, algorithm 5.2.2M):
// the same comparisons whatever the values, so that many coordinates are sorted at once.
std::vector<Comparator> SortingNetwork(std::size_t size) {
  std::vector<Comparator> network;
  if (size < 2) return network;
  const std::size_t top = std::bit_ceil(size) / 2;
  for (std::size_t p = top; p > 0; p /= 2) {
    std::size_t q = top;
    std::size_t r = 0;
    std::size_t d = p;
    while (true) {
      for (std::size_t i = 0; i + d < size; ++i) {
        if ((i & p) == r) network.push_back({i, i + d});
      }
      if (q == p) break;
      d = q - p;
      q /= 2;
      r = p;
    }
  }
  return network;
}

// next[i] = base[i] + the mean of the sorted values in [begin, end).
struct Middle {
  std::size_t begin;
  std::size_t end;
};

struct Problem {
  std::span<const float> base;
  std::span<const std::span<const float>> updates;
  std::span<float> next;
};

void Exchange(float* low, float* high, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    const float a = low[i];
    const float b = high[i];
    low[i] = b < a ? b : a;
    high[i] = b < a ? a : b;
  }
}

// `sorted` has room for [num_updates][kBlock].
void AddBlock(const Problem& problem, std::span<const Comparator> network, Middle middle,
              std::size_t offset, std::vector<float>& sorted) {
  const std::size_t size = std::min(kBlock, problem.base.size() - offset);
  for (std::size_t k = 0; k < problem.updates.size(); ++k) {
    std::copy_n(problem.updates[k].data() + offset, size, sorted.data() + k * kBlock);
  }
  for (const Comparator& comparator : network) {
    Exchange(sorted.data() + comparator.low * kBlock, sorted.data() + comparator.high * kBlock,
             size);
  }
  double sum[kBlock] = {};
  for (std::size_t k = middle.begin; k < middle.end; ++k) {
    const float* row = sorted.data() + k * kBlock;
    for (std::size_t i = 0; i < size; ++i) sum[i] += static_cast<double>(row[i]);
  }
  const auto count = static_cast<double>(middle.end - middle.begin);
  for (std::size_t i = 0; i < size; ++i) {
    problem.next[offset + i] =
        static_cast<float>(static_cast<double>(problem.base[offset + i]) + sum[i] / count);
  }
}

void AddMiddle(const Problem& problem, Middle middle, int num_threads) {
  const std::size_t size = problem.base.size();
  const std::vector<Comparator> network = SortingNetwork(problem.updates.size());
  const auto num_blocks = static_cast<std::int64_t>((size + kBlock - 1) / kBlock);
#pragma omp parallel num_threads(num_threads) if (size >= kLeastParallel)
  {
    std::vector<float> sorted(problem.updates.size() * kBlock);
#pragma omp for schedule(static)
    for (std::int64_t b = 0; b < num_blocks; ++b) {
      AddBlock(problem, network, middle, static_cast<std::size_t>(b) * kBlock, sorted);
    }
  }
}

Middle MedianOf(std::size_t num_updates) { return {(num_updates - 1) / 2, num_updates / 2 + 1}; }

Middle TrimmedOf(std::size_t num_updates, std::size_t num_trimmed) {
  return {num_trimmed, num_updates - num_trimmed};
}

StatusOr<HeldPayload> ApplyMiddle(const RuleRun& run, Middle middle) {
  Sections sections(run);
  CHORALE_RETURN_IF_ERROR(sections.AddModel());
  CHORALE_RETURN_IF_ERROR(sections.AddUpdates());
  CHORALE_ASSIGN_OR_RETURN(ValueWriter writer,
                           ValueWriter::Create(run.payloads, run.request.model.size_bytes));
  std::vector<float> next;
  const auto step = [&](const PieceValues& values) {
    const auto updates = std::span(values).subspan(1);
    CHORALE_RETURN_IF_ERROR(CheckFinite(run, updates));
    next.resize(values.front().size());
    AddMiddle({values.front(), updates, next}, middle, run.num_threads);
    return writer.Append(next);
  };
  CHORALE_RETURN_IF_ERROR(ForEachPiece(run, sections, step));
  return std::move(writer).Commit();
}

}  // namespace

void AddMedian(std::span<const float> base, std::span<const std::span<const float>> updates,
               std::span<float> next, int num_threads) {
  AddMiddle({base, updates, next}, MedianOf(updates.size()), num_threads);
}

void AddTrimmedMean(std::span<const float> base, std::span<const std::span<const float>> updates,
                    std::size_t num_trimmed, std::span<float> next, int num_threads) {
  AddMiddle({base, updates, next}, TrimmedOf(updates.size(), num_trimmed), num_threads);
}

std::size_t NumTrimmed(double share, std::size_t num_updates) {
  constexpr double kSlack = 1e-9;
  if (!(share > 0) || num_updates == 0) return 0;
  const double product = std::min(share, 0.5) * static_cast<double>(num_updates);
  return std::min(static_cast<std::size_t>(std::floor(product + kSlack)), (num_updates - 1) / 2);
}

StatusOr<HeldPayload> ApplyMedian(const RuleRun& run) {
  return ApplyMiddle(run, MedianOf(run.request.contributions.size()));
}

StatusOr<HeldPayload> ApplyTrimmedMean(const RuleRun& run, const v1::TrimmedMean& spec) {
  const std::size_t num_updates = run.request.contributions.size();
  return ApplyMiddle(run, TrimmedOf(num_updates, NumTrimmed(spec.trimmed_share(), num_updates)));
}

}  // namespace chorale::coordinator
