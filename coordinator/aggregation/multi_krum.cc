#include "coordinator/aggregation/multi_krum.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>

#include "coordinator/aggregation/distances.h"

namespace chorale::coordinator {
namespace {

StatusOr<std::vector<double>> SquaredDistances(const RuleRun& run) {
  Sections updates(run);
  CHORALE_RETURN_IF_ERROR(updates.AddUpdates());
  const std::size_t size = updates.all().size();
  std::vector<double> distances(size * (size - 1) / 2);
  std::vector<VectorPair> pairs(distances.size());
  const auto step = [&](const PieceValues& values) {
    CHORALE_RETURN_IF_ERROR(CheckFinite(run, values));
    std::size_t next = 0;
    for (std::size_t i = 0; i < size; ++i) {
      for (std::size_t j = i + 1; j < size; ++j) pairs[next++] = {values[i], values[j]};
    }
    AddSquaredDistances(pairs, distances, run.num_threads);
    return OkStatus();
  };
  CHORALE_RETURN_IF_ERROR(ForEachPiece(run, updates, step));
  return distances;
}

Status CheckReports(std::uint64_t reports, const v1::MultiKrum& spec) {
  const std::uint64_t byzantine = spec.byzantine();
  const std::uint64_t least = std::max(2 * byzantine + 3, byzantine + spec.selected());
  if (byzantine >= 1 && reports >= least) return OkStatus();
  return FailedPrecondition("multi_krum with byzantine = " + std::to_string(byzantine) +
                            " and selected = " + std::to_string(spec.selected()) +
                            " needs at least " + std::to_string(least) + " reports, got " +
                            std::to_string(reports));
}

}  // namespace

std::vector<std::size_t> SelectNearest(std::span<const double> distances, std::size_t num_updates,
                                       std::size_t num_neighbours, std::size_t num_selected) {
  std::vector<std::vector<double>> to_others(num_updates);
  std::size_t next = 0;
  for (std::size_t i = 0; i < num_updates; ++i) {
    for (std::size_t j = i + 1; j < num_updates; ++j) {
      to_others[i].push_back(distances[next]);
      to_others[j].push_back(distances[next]);
      ++next;
    }
  }
  std::vector<double> scores;
  for (std::vector<double>& others : to_others) {
    std::sort(others.begin(), others.end());
    const auto end = others.begin() + static_cast<std::ptrdiff_t>(num_neighbours);
    scores.push_back(std::accumulate(others.begin(), end, 0.0));
  }
  std::vector<std::size_t> order(num_updates);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] < scores[b]; });
  order.resize(num_selected);
  std::sort(order.begin(), order.end());
  return order;
}

StatusOr<HeldPayload> ApplyMultiKrum(const RuleRun& run, const v1::MultiKrum& spec) {
  const std::size_t reports = run.request.contributions.size();
  CHORALE_RETURN_IF_ERROR(CheckReports(reports, spec));
  const std::size_t num_neighbours = reports - spec.byzantine() - 2;
  const std::size_t num_selected = spec.selected() == 0 ? num_neighbours : spec.selected();
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> distances, SquaredDistances(run));
  std::vector<double> weights(reports);
  for (const std::size_t k : SelectNearest(distances, reports, num_neighbours, num_selected)) {
    weights[k] = 1.0 / static_cast<double>(num_selected);
  }
  return AddUpdates(run, weights);
}

}  // namespace chorale::coordinator
