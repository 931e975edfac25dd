#include "privacy/fixed_size_rdp.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numbers>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

// ln E over z ~ N(0, noise^2) of (e^((2z - 1) / 2 noise^2) - 1)^power, power even: the moments that
// the theorem writes as forward differences, without their cancellation. Trapezoid rule; the
// integrand is entire.
double LogCentralMoment(double noise, double power) {
  const double step = noise / 5;
  const double low = -12 * noise;
  const double high = power + 12 * noise;
  double log_sum = -kInfinity;
  const auto num_points = static_cast<std::int64_t>((high - low) / step) + 1;
  for (std::int64_t i = 0; i < num_points; ++i) {
    const double x = low + static_cast<double>(i) * step;
    const double loss = (2 * x - 1) / (2 * noise * noise);
    if (loss == 0) continue;
    const double log_distance = loss > 0 ? LogExpm1(loss) : std::log(-std::expm1(loss));
    log_sum = LogAdd(log_sum, power * log_distance - x * x / (2 * noise * noise));
  }
  return log_sum + std::log(step / (noise * std::sqrt(2 * std::numbers::pi)));
}

class Moments {
 public:
  explicit Moments(double noise) : noise_(noise) {}
  double At(std::size_t power) {
    const auto [it, is_new] = cache_.try_emplace(power, 0);
    if (is_new) it->second = LogCentralMoment(noise_, static_cast<double>(power));
    return it->second;
  }

 private:
  double noise_;
  std::map<std::size_t, double> cache_;
};

// (order - 1) rho for a whole order.
double LogMoment(double share, double noise, std::size_t order, Moments& moments) {
  const double rdp_at_two = 1 / (noise * noise);
  double log_excess = -kInfinity;
  for (std::size_t j = 2; j <= order; ++j) {
    const auto power = static_cast<double>(j);
    double term = std::numbers::ln2 + power * (power - 1) / (2 * noise * noise);
    if (j == 2) {
      term = std::min(std::numbers::ln2 + rdp_at_two, 2 * std::numbers::ln2 + LogExpm1(rdp_at_two));
    } else if (noise > 0.05) {
      // With less noise the other bound is the smaller one, and the moments overflow.
      term = std::min(
          term, 2 * std::numbers::ln2 + (moments.At(j / 2 * 2) + moments.At((j + 1) / 2 * 2)) / 2);
    }
    log_excess = LogAdd(log_excess, term + power * std::log(share) +
                                        LogBinomial(static_cast<double>(order), power));
  }
  return LogAdd(0, log_excess);
}

}  // namespace

std::vector<double> FixedSizeRdp(double share, double noise, std::span<const double> orders) {
  std::vector<double> result;
  Moments moments(noise);
  for (const double order : orders) {
    if (share == 0) {
      result.push_back(0);
    } else if (noise == 0) {
      result.push_back(kInfinity);
    } else if (share == 1) {
      result.push_back(order / (2 * noise * noise));
    } else {
      const double floor = std::floor(order);
      const auto below = static_cast<std::size_t>(floor);
      const double at_floor = below < 2 ? 0 : LogMoment(share, noise, below, moments);
      const double rest = order - floor;
      const double at_ceiling = rest > 0 ? LogMoment(share, noise, below + 1, moments) : 0;
      result.push_back(((1 - rest) * at_floor + rest * at_ceiling) / (order - 1));
    }
  }
  return result;
}

}  // namespace chorale::privacy
