#pragma once

#include <optional>
#include <string>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "core/status.h"
#include "privacy/event.h"
#include "privacy/ledger/entry.h"
#include "privacy/rdp_curve.h"

// What a dataset may lose, and the filter that keeps jobs within it.
namespace chorale::privacy {

// Epsilons at `delta`, as rdp counts them.
struct Limits {
  double max_epsilon = 0;  // Of all jobs on the dataset.
  double max_epsilon_per_job = 0;
  double max_epsilon_per_researcher = 0;  // Of all jobs of one researcher on the dataset.
  double delta = 0;
  NeighboringRelation relation = NeighboringRelation::kAddOrRemoveOne;
};

// INVALID_ARGUMENT, beginning with the name that site.yaml has for it: an epsilon outside [0.05,
// 100] or above max_epsilon, delta outside [1e-10, 0.01].
[[nodiscard]] Status Validate(const Limits& limits);

// As site.yaml says them, defaults filled in. INVALID_ARGUMENT as above, or a relation that is
// neither add-remove nor replace.
[[nodiscard]] StatusOr<Limits> LimitsOf(const v1::PrivacyLimits& config);

// The most rho at `order` that gives epsilon at delta: the inequality of EpsilonOf (rdp_curve.h)
// solved for it. Negative where the order is too low to say anything.
[[nodiscard]] double RhoBudget(double order, double epsilon, double delta);

// The order at which most of such jobs fit into (epsilon, delta). None when no order has room.
//
// A budget is counted at one order, chosen before anything was spent: the Rényi filter of Feldman
// and Zrnic (arXiv 2008.11193) holds for a fixed one. With "some order still has room" a researcher
// who chooses the next job after seeing the last could end at whichever order suits each outcome,
// and the bound on delta would be a sum over the orders.
[[nodiscard]] std::optional<double> ChooseOrder(const RdpCurve& job, double epsilon, double delta);

// Jobs that stay within (epsilon, delta) at the best of `orders` pass.
struct NoiseTarget {
  double epsilon = 0;
  std::vector<double> orders;
};

// True when a step has a noise multiplier of its own: it is not composed.
[[nodiscard]] bool HasNoise(const Event& step);
// The least noise multiplier with which the part meets every target. None: no noise does.
// REQUIRES: HasNoise(part.step).
[[nodiscard]] std::optional<double> NoiseThatFits(const Part& part,
                                                  const std::vector<NoiseTarget>& targets,
                                                  const Limits& limits);

// Curves of equal orders. What is not counted (0 steps) costs nothing, even without noise.
void AddScaled(const RdpCurve& step, std::uint64_t steps, RdpCurve& sum);
[[nodiscard]] RdpCurve NoCost();
[[nodiscard]] bool IsNoCost(const RdpCurve& curve);
// REQUIRES: `order` is one of the curve's.
[[nodiscard]] double RhoAt(const RdpCurve& curve, double order);

}  // namespace chorale::privacy
