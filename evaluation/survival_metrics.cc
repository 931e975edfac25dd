#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "evaluation/metrics.h"

namespace chorale::evaluation {
namespace {

// Counts of risks, by rank (Fenwick 1994): how many lie below one, and how many are equal.
class RankedCounts {
 public:
  explicit RankedCounts(std::size_t num_ranks) : sums_(num_ranks + 1), counts_(num_ranks) {}

  void Add(std::size_t rank) {
    ++total_;
    ++counts_[rank];
    for (std::size_t i = rank + 1; i < sums_.size(); i += i & (~i + 1)) ++sums_[i];
  }
  // Below `rank`, and half of those equal to it.
  [[nodiscard]] double ShareBelow(std::size_t rank) const {
    std::size_t below = 0;
    for (std::size_t i = rank; i > 0; i -= i & (~i + 1)) below += sums_[i];
    return static_cast<double>(below) + 0.5 * static_cast<double>(counts_[rank]);
  }
  [[nodiscard]] double total() const { return static_cast<double>(total_); }

 private:
  std::vector<std::size_t> sums_;
  std::vector<std::size_t> counts_;
  std::size_t total_ = 0;
};

struct Rows {
  std::vector<std::size_t> order;  // Sooner first; at one time, events before censored rows.
  std::vector<std::size_t> ranks;  // Of the risk, equal risks alike. [n]
  std::vector<bool> has_event;     // [n]
  std::size_t num_ranks = 0;
};

Rows Arrange(std::span<const float> risks, std::span<const float> targets) {
  Rows rows;
  const std::size_t n = risks.size();
  rows.order.resize(n);
  std::iota(rows.order.begin(), rows.order.end(), std::size_t{0});
  std::sort(rows.order.begin(), rows.order.end(),
            [&](std::size_t a, std::size_t b) { return risks[a] < risks[b]; });
  rows.ranks.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (i > 0 && risks[rows.order[i]] != risks[rows.order[i - 1]]) ++rows.num_ranks;
    rows.ranks[rows.order[i]] = rows.num_ranks;
  }
  ++rows.num_ranks;
  for (std::size_t i = 0; i < n; ++i) rows.has_event.push_back(targets[2 * i + 1] >= 0.5F);
  std::sort(rows.order.begin(), rows.order.end(), [&](std::size_t a, std::size_t b) {
    if (targets[2 * a] != targets[2 * b]) return targets[2 * a] < targets[2 * b];
    return rows.has_event[a] && !rows.has_event[b];
  });
  return rows;
}

// Pairs that each row is in: comparable ones, and the concordant among them.
struct PairCounts {
  std::vector<double> comparable;  // [n]
  std::vector<double> concordant;  // [n]
};

// Where the rows of one time that had their event end, from `first` on.
std::size_t EndOfEvents(const Rows& rows, std::span<const float> targets, std::size_t first) {
  std::size_t end = first;
  while (end < rows.order.size() && rows.has_event[rows.order[end]] &&
         targets[2 * rows.order[end]] == targets[2 * rows.order[first]]) {
    ++end;
  }
  return end;
}

PairCounts CountPairs(const Rows& rows, std::span<const float> targets) {
  const std::size_t n = rows.order.size();
  PairCounts pairs{.comparable = std::vector<double>(n), .concordant = std::vector<double>(n)};

  // With rows that had their event sooner, whose risk ought to be larger.
  RankedCounts sooner(rows.num_ranks);
  for (std::size_t first = 0; first < n;) {
    const std::size_t events_end = EndOfEvents(rows, targets, first);
    const std::size_t end = std::max(events_end, first + 1);  // A censored row stands alone.
    for (std::size_t i = first; i < end; ++i) {
      const std::size_t row = rows.order[i];
      pairs.comparable[row] += sooner.total();
      pairs.concordant[row] += sooner.total() - sooner.ShareBelow(rows.ranks[row]);
    }
    for (std::size_t i = first; i < events_end; ++i) sooner.Add(rows.ranks[rows.order[i]]);
    first = end;
  }

  // Of rows with an event: with whoever was still under observation.
  RankedCounts later(rows.num_ranks);
  for (std::size_t last = n; last > 0;) {
    std::size_t first = last - 1;
    if (rows.has_event[rows.order[first]]) {
      while (first > 0 && rows.has_event[rows.order[first - 1]] &&
             targets[2 * rows.order[first - 1]] == targets[2 * rows.order[last - 1]]) {
        --first;
      }
      for (std::size_t i = first; i < last; ++i) {
        const std::size_t row = rows.order[i];
        pairs.comparable[row] += later.total();
        pairs.concordant[row] += later.ShareBelow(rows.ranks[row]);
      }
    }
    for (std::size_t i = first; i < last; ++i) later.Add(rows.ranks[rows.order[i]]);
    last = first;
  }
  return pairs;
}

// Comparable pairs that share no row: from the end, every event takes a later row that is free.
std::size_t CountDisjoint(const Rows& rows, std::span<const float> targets) {
  std::size_t num_free = 0;
  std::size_t num_pairs = 0;
  for (std::size_t last = rows.order.size(); last > 0;) {
    std::size_t first = last - 1;
    std::size_t num_events = 0;
    if (rows.has_event[rows.order[first]]) {
      while (first > 0 && rows.has_event[rows.order[first - 1]] &&
             targets[2 * rows.order[first - 1]] == targets[2 * rows.order[last - 1]]) {
        --first;
      }
      num_events = last - first;
    }
    const std::size_t taken = std::min(num_events, num_free);
    num_pairs += taken;
    num_free += (last - first) - 2 * taken;
    last = first;
  }
  return num_pairs;
}

}  // namespace

Metric Concordance(std::span<const float> risks, std::span<const float> targets) {
  if (const char* reason = Unusable(risks)) return NotEstimable(reason);
  const Rows rows = Arrange(risks, targets);
  const PairCounts pairs = CountPairs(rows, targets);
  // Every pair is counted at both of its rows.
  const double comparable =
      std::accumulate(pairs.comparable.begin(), pairs.comparable.end(), 0.0) / 2;
  if (comparable <= 0) return NotEstimable("no comparable pair");
  const double share =
      std::accumulate(pairs.concordant.begin(), pairs.concordant.end(), 0.0) / 2 / comparable;
  double variance = 0;
  for (std::size_t row = 0; row < risks.size(); ++row) {
    const double influence = (pairs.concordant[row] - share * pairs.comparable[row]) / comparable;
    variance += influence * influence;
  }
  return PairShareInterval(share, variance, CountDisjoint(rows, targets));
}

}  // namespace chorale::evaluation
