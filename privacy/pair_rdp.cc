#include "privacy/pair_rdp.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

constexpr double kMaxPoints = 2e6;
constexpr double kReach = 12;  // Deviations beyond the outermost peaks.

// (1 + t)^order - 1 - order t, without cancellation; t > -1.
double Excess(double t, double order) {
  if (std::abs(t) * order > 0.1) return std::expm1(order * std::log1p(t)) - order * t;
  double term = order * (order - 1) / 2 * t * t;
  double sum = term;
  for (int k = 3; k < 60 && std::abs(term) > 1e-18 * std::abs(sum); ++k) {
    term *= (order - k + 1) / k * t;
    sum += term;
  }
  return sum;
}

double LogMomentBound(const NormalPair& pair, double order) {
  const double factor = pair.direction() == Direction::kReplace ? 2 : 1;
  double log_moment = -kInfinity;
  for (const Contribution& c : pair.contributions()) {
    const double distance = factor * c.size / pair.noise();
    log_moment =
        LogAdd(log_moment, std::log(c.probability) + order * (order - 1) * distance * distance / 2);
  }
  return log_moment;
}

}  // namespace

double PairRdp(const NormalPair& pair, double order) {
  const double noise = pair.noise();
  const double largest = pair.largest();
  if (largest == 0) return 0;
  const bool p_shifts = pair.direction() != Direction::kAdd;
  const bool q_shifts = pair.direction() != Direction::kRemove;
  // P^order Q^(1-order) peaks between these; the excess over 1 also does so at up to twice a shift.
  const double low = (q_shifts ? -2 * largest : 0) - kReach * noise;
  const double high = (p_shifts ? std::max(2.0, order) * largest : 0) +
                      (q_shifts ? (order - 1) * largest : 0) + kReach * noise;
  const double spread = (p_shifts && q_shifts ? 2 : 1) * largest;
  const double step = std::min(noise / 5, noise * noise / (4 * spread));
  const double num_points = std::ceil((high - low) / step);
  if (!(num_points < kMaxPoints)) return LogMomentBound(pair, order) / (order - 1);

  // ln A, and A - 1 with relative accuracy, since E_Q[P/Q - 1] = 0.
  double log_sum = -kInfinity;
  double excess = 0;
  const double log_weight = std::log(step / (noise * std::sqrt(2 * std::numbers::pi)));
  double shift = -kInfinity;
  double sum = 0;
  for (std::int64_t i = 0; i <= static_cast<std::int64_t>(num_points); ++i) {
    const double x = low + static_cast<double>(i) * step;
    const double z = x / noise;
    const double p = pair.LogRatioP(x);
    const double q = pair.LogRatioQ(x);
    const double log_term = log_weight + order * p + (1 - order) * q - z * z / 2;
    if (log_term > shift) {
      sum = sum * std::exp(shift - log_term) + 1;
      shift = log_term;
    } else {
      sum += std::exp(log_term - shift);
    }
    const double loss = p - q;
    if (loss < 100) {
      excess += std::exp(log_weight + q - z * z / 2) * Excess(std::expm1(loss), order);
    }
  }
  log_sum = shift + std::log(sum);
  return (log_sum < 0.1 ? std::log1p(excess) : log_sum) / (order - 1);
}

}  // namespace chorale::privacy
