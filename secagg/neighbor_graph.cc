#include "secagg/neighbor_graph.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string>

namespace chorale::secagg {
namespace {

constexpr std::uint32_t kLeastMembers = 3;
constexpr std::uint32_t kMostMembers = 10'000'000;

double LogBinomial(double n, double k) {
  return std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
}

// How many of `draws` without replacement from `population` are among the `marked` of it.
class Hypergeometric {
 public:
  Hypergeometric(std::int64_t population, std::int64_t marked, std::int64_t draws)
      : least_(std::max<std::int64_t>(0, draws - (population - marked))),
        most_(std::min(marked, draws)) {
    probabilities_.reserve(static_cast<std::size_t>(most_ - least_ + 1));
    const double log_total =
        LogBinomial(static_cast<double>(population), static_cast<double>(draws));
    for (std::int64_t i = least_; i <= most_; ++i) {
      const double log_ways =
          LogBinomial(static_cast<double>(marked), static_cast<double>(i)) +
          LogBinomial(static_cast<double>(population - marked), static_cast<double>(draws - i));
      probabilities_.push_back(std::exp(log_ways - log_total));
    }
  }

  // The least t with Pr[X > t] <= bound.
  [[nodiscard]] std::int64_t UpperQuantile(double bound) const {
    double tail = 0;
    std::int64_t t = most_;
    while (t > least_ && tail + At(t) <= bound) tail += At(t--);
    return t;
  }
  // The largest t with Pr[X < t] <= bound.
  [[nodiscard]] std::int64_t LowerQuantile(double bound) const {
    double tail = 0;
    std::int64_t t = least_;
    while (t < most_ && tail + At(t) <= bound) tail += At(t++);
    return t;
  }

 private:
  [[nodiscard]] double At(std::int64_t i) const {
    return probabilities_[static_cast<std::size_t>(i - least_)];
  }

  std::int64_t least_;
  std::int64_t most_;
  std::vector<double> probabilities_;
};

struct Group {
  std::int64_t num_members;
  std::int64_t num_corrupt;
  std::int64_t num_lost;
};

// Whether the members that stay and are honest are connected in a Harary graph of degree k with
// members in random order: a cut removes k in a row, starting at one of n places, and the pairs of
// cuts are bounded by n (n - k - 1) / 2.
bool IsConnected(const Group& group, std::int64_t degree, double security_bits) {
  const auto n = static_cast<double>(group.num_members);
  const auto k = static_cast<double>(degree);
  const auto removed = static_cast<double>(group.num_corrupt + group.num_lost);
  if (removed < k) return true;
  const double log_cut = std::lgamma(removed + 1) + std::lgamma(n - k + 1) - std::lgamma(n + 1) -
                         std::lgamma(removed - k + 1);
  const double log_pairs = std::log(n * (n - k - 1) / 2);
  return log_pairs + log_cut <= -(security_bits + 1) * std::log(2.0);
}

std::optional<std::int64_t> FindThreshold(const Group& group, std::int64_t degree,
                                          const GraphAssumptions& assumptions) {
  if (!IsConnected(group, degree, assumptions.security_bits)) return std::nullopt;
  const auto n = static_cast<double>(group.num_members);
  std::int64_t collude = Hypergeometric(group.num_members, group.num_corrupt, degree)
                             .UpperQuantile(std::exp2(-(assumptions.security_bits + 1)) / n);
  if (assumptions.is_semi_malicious) {
    collude =
        static_cast<std::int64_t>(std::ceil((static_cast<double>(collude + degree) - 1.25) / 2));
  }
  const std::int64_t answer =
      Hypergeometric(group.num_members, group.num_members - group.num_lost, degree)
          .LowerQuantile(std::exp2(-assumptions.correctness_bits) / n);
  const std::int64_t threshold = collude + 1;
  return threshold <= answer ? std::optional(threshold) : std::nullopt;
}

Status CheckAssumptions(std::uint32_t num_members, const GraphAssumptions& assumptions) {
  if (num_members < kLeastMembers || num_members > kMostMembers) {
    return InvalidArgument("a graph must have [3, 10000000] members, got " +
                           std::to_string(num_members));
  }
  const double corrupt = assumptions.corrupt_fraction;
  const double dropout = assumptions.dropout_fraction;
  if (!(corrupt >= 0 && dropout >= 0 && corrupt + dropout < 1)) {
    return InvalidArgument(
        "corrupt_fraction and dropout_fraction must be at least 0 and below 1 together, got " +
        std::to_string(corrupt) + " and " + std::to_string(dropout));
  }
  if (!(assumptions.security_bits > 0 && assumptions.security_bits <= 512 &&
        assumptions.correctness_bits > 0 && assumptions.correctness_bits <= 512)) {
    return InvalidArgument("security_bits and correctness_bits must be in (0, 512], got " +
                           std::to_string(assumptions.security_bits) + " and " +
                           std::to_string(assumptions.correctness_bits));
  }
  return OkStatus();
}

}  // namespace

StatusOr<GraphParameters> FindGraph(std::uint32_t num_members,
                                    const GraphAssumptions& assumptions) {
  CHORALE_RETURN_IF_ERROR(CheckAssumptions(num_members, assumptions));
  const double n = num_members;
  const Group group = {num_members, static_cast<std::int64_t>(n * assumptions.corrupt_fraction),
                       static_cast<std::int64_t>(n * assumptions.dropout_fraction)};
  for (std::int64_t degree = 2; degree < num_members; degree += 2) {
    const std::optional<std::int64_t> threshold = FindThreshold(group, degree, assumptions);
    if (!threshold) continue;
    return GraphParameters{static_cast<std::uint32_t>(degree),
                           static_cast<std::uint32_t>(*threshold)};
  }
  return NotFound("no number of neighbours below " + std::to_string(num_members) +
                  " withstands these fractions of corrupt and lost members");
}

std::vector<MemberIndex> DrawNeighbors(std::uint32_t num_members, MemberIndex self,
                                       std::uint32_t out_degree, RandomSource& random) {
  // Floyd's algorithm (Bentley, Programming Pearls, 1987): every set is equally likely.
  const std::uint32_t num_others = num_members - 1;
  std::set<std::uint32_t> drawn;
  for (std::uint32_t last = num_others - out_degree; last < num_others; ++last) {
    const auto place = static_cast<std::uint32_t>(random.NextBelow(std::uint64_t{last} + 1));
    drawn.insert(drawn.contains(place) ? last : place);
  }
  std::vector<MemberIndex> neighbors;
  for (const std::uint32_t place : drawn) neighbors.push_back(place < self ? place : place + 1);
  return neighbors;
}

}  // namespace chorale::secagg
