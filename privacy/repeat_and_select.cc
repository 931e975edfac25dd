#include "privacy/repeat_and_select.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

// The parameter gamma of the distribution with this mean: 1/mean for the geometric one; for the
// logarithmic one the root of (1 - 1/gamma) / ln(gamma) = mean, which falls as gamma grows.
double GammaOf(RepeatAndSelect::Repetitions repetitions, double mean) {
  if (mean == 1 || repetitions == RepeatAndSelect::Repetitions::kGeometric) return 1 / mean;
  double low = -800;  // Of ln(gamma); mean e^800 / 800.
  double high = 0;
  while (true) {
    const double middle = (low + high) / 2;
    if (middle <= low || middle >= high) break;
    // (1 - e^-x) / x at x = ln(gamma) < 0.
    (std::expm1(-middle) / -middle > mean ? low : high) = middle;
  }
  return std::exp(low);
}

// A divergence of a lower order is no larger.
void CarryDown(RdpCurve& curve) {
  std::vector<std::size_t> by_order(curve.orders.size());
  for (std::size_t i = 0; i < by_order.size(); ++i) by_order[i] = i;
  std::sort(by_order.begin(), by_order.end(),
            [&](std::size_t a, std::size_t b) { return curve.orders[a] > curve.orders[b]; });
  double least = kInfinity;
  for (const std::size_t i : by_order) {
    least = std::min(least, curve.values[i]);
    curve.values[i] = least;
  }
}

}  // namespace

RdpCurve RepeatedRdp(const RdpCurve& one_run, RepeatAndSelect::Repetitions repetitions,
                     double mean) {
  RdpCurve curve = one_run;
  if (repetitions == RepeatAndSelect::Repetitions::kPoisson) {
    for (std::size_t i = 0; i < curve.orders.size(); ++i) {
      const double order = curve.orders[i];
      const double delta = DeltaOf(one_run, std::log1p(1 / (order - 1)));
      curve.values[i] += mean * delta + std::log(mean) / (order - 1);
    }
  } else {
    const double eta = repetitions == RepeatAndSelect::Repetitions::kGeometric ? 1 : 0;
    const double log_gamma = std::log(GammaOf(repetitions, mean));
    double other = kInfinity;
    for (std::size_t i = 0; i < curve.orders.size(); ++i) {
      const double order = one_run.orders[i];
      other = std::min(other, (1 - 1 / order) * one_run.values[i] - log_gamma / order);
    }
    for (std::size_t i = 0; i < curve.orders.size(); ++i) {
      curve.values[i] += (1 + eta) * other + std::log(mean) / (curve.orders[i] - 1);
    }
  }
  CarryDown(curve);
  return curve;
}

}  // namespace chorale::privacy
