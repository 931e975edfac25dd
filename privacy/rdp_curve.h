#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/status.h"
#include "privacy/event.h"

// Rényi differential privacy: rho(order) bounds the divergence of that order between the outputs on
// neighbouring datasets. It adds up under composition, also when each step was chosen after seeing
// the ones before, as long as the budget is fixed at some order (Feldman and Zrnic, arXiv
// 2008.11193): the currency of a budget across jobs.
namespace chorale::privacy {

// 1.1, 1.2, …, 10.9 and 12, 13, …, 63: the orders with which published figures were computed.
[[nodiscard]] std::vector<double> StandardOrders();
// These and 64, 128, 256, 512, 1024, which small epsilons and long jobs need: never worse.
[[nodiscard]] std::vector<double> ExtendedOrders();

struct RdpCurve {
  std::vector<double> orders;  // Above 1.
  std::vector<double> values;  // As many; may be infinite.
};

struct EpsilonAtOrder {
  double epsilon = 0;
  double order = 0;
};

// The least over the orders of rho + ln(1 - 1/order) - ln(delta order) / (order - 1), at least 0
// (Canonne, Kamath and Steinke, arXiv 2004.00010, proposition 12).
// REQUIRES: 0 < delta < 1; at least one order.
[[nodiscard]] EpsilonAtOrder EpsilonOf(const RdpCurve& curve, double delta);

// The least delta for which the same inequality holds, at most 1. REQUIRES: epsilon >= 0.
[[nodiscard]] double DeltaOf(const RdpCurve& curve, double epsilon);

// The curve of one step of Poisson, fixed-size or truncated sampling, of noise on a sum, or of
// repeat-and-select, times the counts. INVALID_ARGUMENT when the event is not valid, an order is
// not above 1, or there is no rule: sampled Laplace noise has none, nor has repeat-and-select with
// repetitions that the theorem does not cover.
[[nodiscard]] StatusOr<RdpCurve> ComputeRdpCurve(const Event& event, NeighboringRelation relation,
                                                 std::span<const double> orders);

}  // namespace chorale::privacy
