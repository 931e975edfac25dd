#include "privacy/pld.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <sstream>
#include <utility>
#include <vector>

#include "privacy/dominating_pair.h"
#include "privacy/gaussian.h"
#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

constexpr double kMaxStepPoints = 1 << 20;
constexpr double kPointsPerDeviation = 8;

struct CountedPair {
  DominatingPair pair;
  std::uint64_t count;
};

bool IsEpsilonQuestion(const TailQuestion& question) {
  return question.kind == TailQuestion::Kind::kEpsilonAtDelta;
}

Status CheckQuestion(const TailQuestion& question, std::optional<double> interval,
                     bool needs_grid) {
  std::ostringstream text;
  const double value = question.value;
  if (IsEpsilonQuestion(question)) {
    const double least = needs_grid ? kLeastPldDelta : 0;
    if (!(value > 0 && value >= least && value < 1)) {
      text << "delta must be at least " << least << " and below 1 for accountant pld, got "
           << value;
    }
  } else if (!(value >= 0)) {
    text << "epsilon must be at least 0, got " << value;
  }
  if (interval.has_value() && !(*interval >= 1e-7 && *interval <= 1)) {
    text << "interval must be in [1e-07, 1], got " << *interval;
  }
  return text.str().empty() ? OkStatus() : InvalidArgument(text.str());
}

double AnswerFor(double mu, const TailQuestion& question) {
  return IsEpsilonQuestion(question) ? GaussianEpsilon(mu, question.value)
                                     : GaussianDelta(mu, question.value);
}

// Noise multiplier of any leaf.
struct NoiseOf {
  double operator()(const RepeatAndSelect&) const { return 1; }
  template <typename Leaf>
  double operator()(const Leaf& leaf) const {
    return leaf.noise_multiplier;
  }
};

// Leaves without the Gaussian ones, which are one of the given mu.
struct Schedule {
  double mu = 0;
  std::vector<CountedLeaf> others;
};
Schedule ScheduleOf(const std::vector<CountedLeaf>& leaves, NeighboringRelation relation) {
  Schedule schedule;
  double mu_squared = 0;
  const double sensitivity = relation == NeighboringRelation::kReplaceOne ? 2 : 1;
  for (const CountedLeaf& leaf : leaves) {
    if (const auto* gaussian = std::get_if<Gaussian>(&leaf.kind)) {
      const double mu = sensitivity / gaussian->noise_multiplier;
      mu_squared += static_cast<double>(leaf.count) * mu * mu;
    } else {
      schedule.others.push_back(leaf);
    }
  }
  schedule.mu = std::sqrt(mu_squared);
  return schedule;
}

StatusOr<std::vector<CountedPair>> PairsOf(const Schedule& schedule, NeighboringRelation relation,
                                           Direction direction) {
  std::vector<CountedPair> pairs;
  for (const CountedLeaf& leaf : schedule.others) {
    CHORALE_ASSIGN_OR_RETURN(DominatingPair pair, DominatingPairOf(leaf, relation, direction));
    pairs.push_back({.pair = std::move(pair), .count = leaf.count});
  }
  if (schedule.mu > 0) {
    // Already with the relation's sensitivity.
    CHORALE_ASSIGN_OR_RETURN(
        DominatingPair pair,
        DominatingPairOf({.kind = GaussianMixture{.contributions = {schedule.mu},
                                                  .probabilities = {1},
                                                  .noise_multiplier = 1},
                          .count = 1},
                         NeighboringRelation::kAddOrRemoveOne, direction));
    pairs.push_back({.pair = std::move(pair), .count = 1});
  }
  return pairs;
}

double IntervalFor(const std::vector<CountedPair>& pairs) {
  double interval = kPldInterval;
  for (const CountedPair& counted : pairs) {
    const double deviation = LossDeviation(counted.pair);
    if (deviation > 0 && deviation < kPldInterval) {
      interval = std::min(interval, deviation / kPointsPerDeviation);
    }
  }
  return interval;
}

StatusOr<PldAnswer> AnswerOneWay(const std::vector<CountedPair>& pairs,
                                 const TailQuestion& question, double interval) {
  for (const CountedPair& counted : pairs) {
    while (LossRange(counted.pair) / interval > kMaxStepPoints) interval *= 2;
  }
  while (true) {
    std::vector<LossDistribution> distributions;
    distributions.reserve(pairs.size());
    std::vector<RepeatedLoss> parts;
    for (const CountedPair& counted : pairs) {
      distributions.push_back(Discretize(counted.pair, interval));
      parts.push_back({.distribution = &distributions.back(), .count = counted.count});
    }
    double points_wanted = 0;
    const StatusOr<double> answer = AnswerOfSum(parts, question, points_wanted);
    if (answer.ok()) return PldAnswer{.value = *answer, .interval = interval};
    if (answer.status().code() != StatusCode::kResourceExhausted) return answer.status();
    if (!std::isfinite(points_wanted)) {
      return PldAnswer{.value = IsEpsilonQuestion(question) ? kInfinity : 1, .interval = interval};
    }
    interval *= std::exp2(
        std::ceil(std::log2(std::max(2.0, points_wanted / static_cast<double>(kMaxGridPoints)))));
  }
}

}  // namespace

StatusOr<PldAnswer> AnswerByPld(const Event& event, NeighboringRelation relation,
                                const TailQuestion& question, std::optional<double> interval) {
  CHORALE_RETURN_IF_ERROR(Validate(event));
  const std::vector<CountedLeaf> leaves = Flatten(event);
  const bool has_noise = std::all_of(leaves.begin(), leaves.end(), [](const CountedLeaf& leaf) {
    return std::visit(NoiseOf{}, leaf.kind) > 0;
  });
  const Schedule schedule = ScheduleOf(leaves, relation);
  CHORALE_RETURN_IF_ERROR(CheckQuestion(question, interval, has_noise && !schedule.others.empty()));
  if (!has_noise) return PldAnswer{.value = IsEpsilonQuestion(question) ? kInfinity : 1};
  if (schedule.others.empty()) return PldAnswer{.value = AnswerFor(schedule.mu, question)};

  CHORALE_ASSIGN_OR_RETURN(const std::vector<CountedPair> first,
                           PairsOf(schedule, relation, Direction::kRemove));
  const double step = interval.has_value() ? *interval : IntervalFor(first);
  if (relation == NeighboringRelation::kReplaceOne) return AnswerOneWay(first, question, step);
  CHORALE_ASSIGN_OR_RETURN(const std::vector<CountedPair> second,
                           PairsOf(schedule, relation, Direction::kAdd));
  // On a thread of its own where the system has one left.
  std::future<StatusOr<PldAnswer>> adding =
      std::async([&] { return AnswerOneWay(second, question, step); });
  const StatusOr<PldAnswer> removing = AnswerOneWay(first, question, step);
  const StatusOr<PldAnswer> added = adding.get();
  CHORALE_RETURN_IF_ERROR(removing.status());
  CHORALE_RETURN_IF_ERROR(added.status());
  return PldAnswer{.value = std::max(removing->value, added->value),
                   .interval = std::max(removing->interval, added->interval)};
}

}  // namespace chorale::privacy
