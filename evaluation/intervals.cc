#include "evaluation/intervals.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace chorale::evaluation {
namespace {

constexpr double kZ = 1.959963984540054;  // 97.5 % quantile of the normal distribution.
constexpr double kTail = 0.025;

}  // namespace

Metric NotEstimable(std::string reason) {
  return {.estimate = std::nullopt, .not_estimable = std::move(reason)};
}

Metric Estimated(double value, double lower, double upper) {
  return {.estimate = Estimate{.value = value, .lower = lower, .upper = upper},
          .not_estimable = {}};
}

const char* Unusable(std::span<const float> scores) {
  if (scores.empty()) return "no rows";
  const bool is_finite =
      std::all_of(scores.begin(), scores.end(), [](float s) { return std::isfinite(s); });
  return is_finite ? nullptr : "a score is not finite";
}

Metric Wilson(double share, double trials) {
  const double z2 = kZ * kZ;
  const double center = (share + z2 / (2 * trials)) / (1 + z2 / trials);
  const double half =
      kZ / (1 + z2 / trials) * std::sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials));
  // Rounding must not exclude the value itself at 0 and 1.
  return Estimated(share, std::clamp(center - half, 0.0, share),
                   std::clamp(center + half, share, 1.0));
}

Metric MeanInterval(std::span<const double> values, double least) {
  if (values.size() < 2) return NotEstimable(values.empty() ? "no rows" : "one row");
  const double mean = MeanOf(values);
  const double half = kZ * std::sqrt(VarianceOf(values) / static_cast<double>(values.size()));
  return Estimated(mean, std::max(least, mean - half), mean + half);
}

Metric PairShareInterval(double share, double variance, std::size_t num_disjoint) {
  const auto pairs = static_cast<double>(num_disjoint);
  if (share >= 1) return Estimated(1, std::pow(kTail, 1 / pairs), 1);
  if (share <= 0) return Estimated(0, 0, 1 - std::pow(kTail, 1 / pairs));
  if (num_disjoint < 2 || variance <= 0) return Wilson(share, pairs);
  const double logit = std::log(share / (1 - share));
  const double half = kZ * std::sqrt(variance) / (share * (1 - share));  // Delta method.
  const auto expit = [](double x) { return 1 / (1 + std::exp(-x)); };
  return Estimated(share, expit(logit - half), expit(logit + half));
}

double MeanOf(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double VarianceOf(std::span<const double> values) {
  const double mean = MeanOf(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return sum / static_cast<double>(values.size() - 1);
}

}  // namespace chorale::evaluation
