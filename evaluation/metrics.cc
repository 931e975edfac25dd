#include "evaluation/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace chorale::evaluation {
namespace {

constexpr double kZ = 1.959963984540054;  // 97.5 % quantile of the normal distribution.
constexpr double kTail = 0.025;
constexpr double kScoreMargin = 1e-7;

Metric NotEstimable(const char* reason) {
  return {.estimate = std::nullopt, .not_estimable = reason};
}
Metric Estimated(double value, double lower, double upper) {
  return {.estimate = Estimate{.value = value, .lower = lower, .upper = upper},
          .not_estimable = {}};
}

// Why no metric at all exists, or null.
const char* Unusable(std::span<const float> scores) {
  if (scores.empty()) return "no rows";
  const bool is_finite =
      std::all_of(scores.begin(), scores.end(), [](float s) { return std::isfinite(s); });
  return is_finite ? nullptr : "a score is not finite";
}

// Wilson 1927, equation 2, for a share observed among `trials`.
Metric Wilson(double share, double trials) {
  const double z2 = kZ * kZ;
  const double center = (share + z2 / (2 * trials)) / (1 + z2 / trials);
  const double half =
      kZ / (1 + z2 / trials) * std::sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials));
  // Rounding must not exclude the value itself at 0 and 1.
  return Estimated(share, std::clamp(center - half, 0.0, share),
                   std::clamp(center + half, share, 1.0));
}

// Rank of each value from 1, ties sharing the mean of their ranks. [n]
std::vector<double> Midranks(const std::vector<float>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t end = first + 1;
    while (end < order.size() && values[order[end]] == values[order[first]]) ++end;
    const double midrank = 0.5 * static_cast<double>(first + 1 + end);
    for (; first < end; ++first) ranks[order[first]] = midrank;
  }
  return ranks;
}

double MeanOf(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// With n - 1. REQUIRES: two values at least.
double VarianceOf(const std::vector<double>& values) {
  const double mean = MeanOf(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return sum / static_cast<double>(values.size() - 1);
}

// For each value of `own`, the share of `other` that it exceeds, ties counted half. Sun and Xu
// 2014: its midrank among both less its midrank among its own. [own.size()]
std::vector<double> SharesExceeded(const std::vector<float>& own, const std::vector<float>& other) {
  std::vector<float> both = own;
  both.insert(both.end(), other.begin(), other.end());
  const std::vector<double> ranks_in_both = Midranks(both);
  const std::vector<double> ranks_in_own = Midranks(own);
  std::vector<double> shares(own.size());
  for (std::size_t i = 0; i < own.size(); ++i) {
    shares[i] = (ranks_in_both[i] - ranks_in_own[i]) / static_cast<double>(other.size());
  }
  return shares;
}

}  // namespace

Metric Accuracy(std::span<const float> scores, std::span<const float> targets) {
  if (const char* reason = Unusable(scores)) return NotEstimable(reason);
  std::size_t num_right = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if ((scores[i] >= 0.5F) == (targets[i] >= 0.5F)) ++num_right;
  }
  const auto rows = static_cast<double>(scores.size());
  return Wilson(static_cast<double>(num_right) / rows, rows);
}

Metric Auroc(std::span<const float> scores, std::span<const float> targets) {
  if (const char* reason = Unusable(scores)) return NotEstimable(reason);
  std::vector<float> positives;
  std::vector<float> negatives;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    (targets[i] >= 0.5F ? positives : negatives).push_back(scores[i]);
  }
  if (positives.empty() || negatives.empty()) return NotEstimable("one class");

  const std::vector<double> above = SharesExceeded(positives, negatives);
  const std::vector<double> below = SharesExceeded(negatives, positives);
  const double area = MeanOf(above);
  const auto pairs = static_cast<double>(std::min(positives.size(), negatives.size()));
  if (area >= 1) return Estimated(1, std::pow(kTail, 1 / pairs), 1);
  if (area <= 0) return Estimated(0, 0, 1 - std::pow(kTail, 1 / pairs));
  if (pairs < 2) return Wilson(area, pairs);
  const double variance = VarianceOf(above) / static_cast<double>(positives.size()) +
                          VarianceOf(below) / static_cast<double>(negatives.size());
  if (variance <= 0) return Wilson(area, pairs);
  const double logit = std::log(area / (1 - area));
  const double half = kZ * std::sqrt(variance) / (area * (1 - area));  // Delta method.
  const auto expit = [](double x) { return 1 / (1 + std::exp(-x)); };
  return Estimated(area, expit(logit - half), expit(logit + half));
}

Metric LogLoss(std::span<const float> scores, std::span<const float> targets) {
  if (const char* reason = Unusable(scores)) return NotEstimable(reason);
  if (scores.size() < 2) return NotEstimable("one row");
  std::vector<double> losses(scores.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double score = std::clamp(static_cast<double>(scores[i]), kScoreMargin, 1 - kScoreMargin);
    losses[i] = targets[i] >= 0.5F ? -std::log(score) : -std::log1p(-score);
  }
  const double mean = MeanOf(losses);
  const double half = kZ * std::sqrt(VarianceOf(losses) / static_cast<double>(losses.size()));
  return Estimated(mean, std::max(0.0, mean - half), mean + half);
}

}  // namespace chorale::evaluation
