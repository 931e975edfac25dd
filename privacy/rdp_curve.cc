#include "privacy/rdp_curve.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <utility>

#include "privacy/fixed_size_rdp.h"
#include "privacy/log_math.h"
#include "privacy/monotone_pair.h"
#include "privacy/pair_rdp.h"
#include "privacy/repeat_and_select.h"
#include "privacy/sampled_gaussian_rdp.h"
#include "privacy/truncation.h"

namespace chorale::privacy {
namespace {

using Values = std::vector<double>;

// Laplace noise of scale 1/epsilon at sensitivity 1 (Mironov, arXiv 1702.07476, proposition 6).
double LaplaceRdp(double epsilon, double order) {
  const double a = order;
  const double shrink = std::expm1(epsilon * (1 - 2 * a)) / (2 * a - 1);
  return epsilon + std::log1p((a - 1) * shrink) / (a - 1);
}

// How far the sum moves under the relation, in units of the clipping bound.
double SensitivityUnder(NeighboringRelation relation) {
  return relation == NeighboringRelation::kReplaceOne ? 2 : 1;
}

NormalPair SampledPair(Direction direction, double rate, double noise) {
  return {
      direction, {{.size = 0, .probability = 1 - rate}, {.size = 1, .probability = rate}}, noise};
}

// One leaf, once, at every order.
struct LeafRdp {
  NeighboringRelation relation;
  std::span<const double> orders;

  template <typename Function>
  [[nodiscard]] Values AtEach(Function function) const {
    Values values;
    values.reserve(orders.size());
    for (const double order : orders) values.push_back(function(order));
    return values;
  }

  StatusOr<Values> operator()(const Gaussian& e) const {
    const double noise = e.noise_multiplier / SensitivityUnder(relation);
    return AtEach([&](double order) { return order / (2 * noise * noise); });
  }
  StatusOr<Values> operator()(const Laplace& e) const {
    const double epsilon = SensitivityUnder(relation) / e.noise_multiplier;
    return AtEach(
        [&](double order) { return std::isinf(epsilon) ? kInfinity : LaplaceRdp(epsilon, order); });
  }
  StatusOr<Values> operator()(const SampledLaplace&) const {
    return InvalidArgument(
        "accountant rdp has no rule for Laplace noise on sampled batches; use pld");
  }
  StatusOr<Values> operator()(const SampledGaussian& e) const {
    const bool is_replace = relation == NeighboringRelation::kReplaceOne;
    if (e.sampling == Sampling::kFixedSize) {
      // One unit's coming or going also brings or drives out another: the sum moves by 2 C under
      // either relation. Under add or remove one the batch with the unit is one of replace one,
      // mixed in with the share as its probability (Zhu, Dong and Wang, theorem 11).
      if (is_replace) return FixedSizeRdp(e.sample_rate, e.noise_multiplier / 2, orders);
      return AtEach([&](double order) {
        return SampledGaussianRdp(e.sample_rate, e.noise_multiplier / 2, order);
      });
    }
    if (!is_replace) {
      return AtEach([&](double order) {
        return SampledGaussianRdp(e.sample_rate, e.noise_multiplier, order);
      });
    }
    return AtEach(
        [&](double order) { return ReplaceRdp(e.sample_rate, e.noise_multiplier, order); });
  }
  StatusOr<Values> operator()(const TruncatedPoissonGaussian& e) const {
    const Truncation cut = TruncationOf(e);
    const bool is_replace = relation == NeighboringRelation::kReplaceOne;
    return AtEach([&](double order) {
      const double whole = is_replace
                               ? ReplaceRdp(e.sample_rate, e.noise_multiplier, order)
                               : SampledGaussianRdp(e.sample_rate, e.noise_multiplier, order);
      if (cut.cut_probability == 0) return whole;
      const double when_cut = ReplaceRdp(cut.rate_when_cut, e.noise_multiplier / 2, order);
      // Whether it was cut is as likely on both sides: moments mix.
      const double a = order - 1;
      const double not_cut = 1 - cut.cut_probability;
      return LogAdd(std::log(cut.cut_probability) + a * when_cut,
                    not_cut > 0 ? std::log(not_cut) + a * whole : -kInfinity) /
             a;
    });
  }
  StatusOr<Values> operator()(const GaussianMixture& e) const {
    if (e.noise_multiplier == 0) {
      return AtEach([](double) { return kInfinity; });
    }
    std::vector<Contribution> contributions;
    for (std::size_t i = 0; i < e.contributions.size(); ++i) {
      contributions.push_back({.size = e.contributions[i], .probability = e.probabilities[i]});
    }
    if (relation == NeighboringRelation::kReplaceOne) {
      const NormalPair pair(Direction::kReplace, contributions, e.noise_multiplier);
      return AtEach([&](double order) { return PairRdp(pair, order); });
    }
    const NormalPair remove(Direction::kRemove, contributions, e.noise_multiplier);
    const NormalPair add(Direction::kAdd, contributions, e.noise_multiplier);
    return AtEach(
        [&](double order) { return std::max(PairRdp(remove, order), PairRdp(add, order)); });
  }
  StatusOr<Values> operator()(const RepeatAndSelect& e) const {
    CHORALE_ASSIGN_OR_RETURN(const RdpCurve one_run,
                             ComputeRdpCurve({.kind = Composed{.parts = e.run}}, relation, orders));
    return RepeatedRdp(one_run, e.repetitions, e.mean).values;
  }

  [[nodiscard]] static double ReplaceRdp(double rate, double noise, double order) {
    if (rate == 0) return 0;
    if (noise == 0) return kInfinity;
    return PairRdp(SampledPair(Direction::kReplace, rate, noise), order);
  }
};

}  // namespace

std::vector<double> StandardOrders() {
  std::vector<double> orders;
  for (int i = 1; i < 100; ++i) orders.push_back(1 + i / 10.0);
  for (int i = 12; i < 64; ++i) orders.push_back(i);
  return orders;
}

std::vector<double> ExtendedOrders() {
  std::vector<double> orders = StandardOrders();
  for (const double order : {64, 128, 256, 512, 1024}) orders.push_back(order);
  return orders;
}

EpsilonAtOrder EpsilonOf(const RdpCurve& curve, double delta) {
  EpsilonAtOrder best{.epsilon = kInfinity, .order = curve.orders.front()};
  for (std::size_t i = 0; i < curve.orders.size(); ++i) {
    const double order = curve.orders[i];
    const double epsilon =
        curve.values[i] + std::log1p(-1 / order) - std::log(delta * order) / (order - 1);
    if (epsilon < best.epsilon) best = {.epsilon = epsilon, .order = order};
  }
  best.epsilon = std::max(0.0, best.epsilon);
  return best;
}

double DeltaOf(const RdpCurve& curve, double epsilon) {
  double log_delta = 0;
  for (std::size_t i = 0; i < curve.orders.size(); ++i) {
    const double order = curve.orders[i];
    log_delta =
        std::min(log_delta, (order - 1) * (curve.values[i] - epsilon + std::log1p(-1 / order)) -
                                std::log(order));
  }
  return std::exp(log_delta);
}

StatusOr<RdpCurve> ComputeRdpCurve(const Event& event, NeighboringRelation relation,
                                   std::span<const double> orders) {
  CHORALE_RETURN_IF_ERROR(Validate(event));
  if (orders.empty()) return InvalidArgument("orders must name at least one order");
  for (const double order : orders) {
    if (!(order > 1) || !(order <= 1e6)) {
      return InvalidArgument("orders must be above 1 and at most 1e6, got " +
                             std::to_string(order));
    }
  }
  RdpCurve curve{.orders = Values(orders.begin(), orders.end()),
                 .values = Values(orders.size(), 0)};
  for (const CountedLeaf& leaf : Flatten(event)) {
    CHORALE_ASSIGN_OR_RETURN(
        const Values once, std::visit(LeafRdp{.relation = relation, .orders = orders}, leaf.kind));
    for (std::size_t i = 0; i < once.size(); ++i) {
      curve.values[i] += static_cast<double>(leaf.count) * once[i];
    }
  }
  return curve;
}

}  // namespace chorale::privacy
