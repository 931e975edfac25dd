#include "evaluation/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

namespace chorale::evaluation {
namespace {

constexpr double kScoreMargin = 1e-7;

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

double NegativeLogOf(float probability) {
  return -std::log(std::clamp(static_cast<double>(probability), kScoreMargin, 1 - kScoreMargin));
}

// How a class is told from the others: its area, and what each row adds to the area's deviation
// (the infinitesimal jackknife). REQUIRES: a row inside and one outside.
struct OneAgainstRest {
  double area = 0;
  std::vector<double> influence;  // [n]
  std::size_t num_inside = 0;
};

OneAgainstRest Separate(std::span<const float> scores, std::span<const float> targets,
                        std::size_t num_classes, std::size_t number) {
  std::vector<float> inside;
  std::vector<float> outside;
  for (std::size_t row = 0; row < targets.size(); ++row) {
    const bool is_inside = static_cast<std::size_t>(targets[row]) == number;
    (is_inside ? inside : outside).push_back(scores[row * num_classes + number]);
  }
  const std::vector<double> above = SharesExceeded(inside, outside);
  const std::vector<double> below = SharesExceeded(outside, inside);
  OneAgainstRest result{.area = MeanOf(above), .influence = {}, .num_inside = inside.size()};
  std::size_t next_inside = 0;
  std::size_t next_outside = 0;
  for (const float target : targets) {
    const bool is_inside = static_cast<std::size_t>(target) == number;
    // A row outside adds the share of rows inside that exceed it.
    const double deviation =
        is_inside ? above[next_inside++] - result.area : 1 - below[next_outside++] - result.area;
    result.influence.push_back(deviation /
                               static_cast<double>(is_inside ? inside.size() : outside.size()));
  }
  return result;
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
  const std::size_t pairs = std::min(positives.size(), negatives.size());
  const double variance = pairs < 2 ? 0
                                    : VarianceOf(above) / static_cast<double>(positives.size()) +
                                          VarianceOf(below) / static_cast<double>(negatives.size());
  return PairShareInterval(MeanOf(above), variance, pairs);
}

Metric LogLoss(std::span<const float> scores, std::span<const float> targets) {
  if (const char* reason = Unusable(scores)) return NotEstimable(reason);
  std::vector<double> losses(scores.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double score = std::clamp(static_cast<double>(scores[i]), kScoreMargin, 1 - kScoreMargin);
    losses[i] = targets[i] >= 0.5F ? -std::log(score) : -std::log1p(-score);
  }
  return MeanInterval(losses, 0);
}

Metric ClassAccuracy(std::span<const float> scores, std::span<const float> targets,
                     std::size_t num_classes) {
  if (const char* reason = Unusable(scores)) return NotEstimable(reason);
  std::size_t num_right = 0;
  for (std::size_t row = 0; row < targets.size(); ++row) {
    const auto own = scores.subspan(row * num_classes, num_classes);
    const auto largest = std::max_element(own.begin(), own.end()) - own.begin();
    if (static_cast<std::size_t>(largest) == static_cast<std::size_t>(targets[row])) ++num_right;
  }
  const auto rows = static_cast<double>(targets.size());
  return Wilson(static_cast<double>(num_right) / rows, rows);
}

Metric MacroAuroc(std::span<const float> scores, std::span<const float> targets,
                  std::size_t num_classes) {
  if (const char* reason = Unusable(scores)) return NotEstimable(reason);
  std::vector<std::size_t> counts(num_classes);
  for (const float target : targets) ++counts[static_cast<std::size_t>(target)];
  const auto num_present =
      std::count_if(counts.begin(), counts.end(), [](std::size_t count) { return count > 0; });
  if (num_present < 2) return NotEstimable("one class");
  for (std::size_t number = 0; number < num_classes; ++number) {
    if (counts[number] == 0) return NotEstimable("no row of class " + std::to_string(number));
  }

  const auto share = 1 / static_cast<double>(num_classes);
  double area = 0;
  std::size_t pairs = targets.size();
  std::vector<double> influence(targets.size());
  for (std::size_t number = 0; number < num_classes; ++number) {
    const OneAgainstRest separation = Separate(scores, targets, num_classes, number);
    area += share * separation.area;
    pairs = std::min({pairs, separation.num_inside, targets.size() - separation.num_inside});
    for (std::size_t row = 0; row < influence.size(); ++row) {
      influence[row] += share * separation.influence[row];
    }
  }
  const double variance =
      std::inner_product(influence.begin(), influence.end(), influence.begin(), 0.0);
  // A mean of areas of 1 may round to just beside it.
  if (area > 1 - 1e-12) area = 1;
  return PairShareInterval(area, variance, pairs);
}

Metric ClassLogLoss(std::span<const float> scores, std::span<const float> targets,
                    std::size_t num_classes) {
  if (const char* reason = Unusable(scores)) return NotEstimable(reason);
  std::vector<double> losses(targets.size());
  for (std::size_t row = 0; row < targets.size(); ++row) {
    losses[row] = NegativeLogOf(scores[row * num_classes + static_cast<std::size_t>(targets[row])]);
  }
  return MeanInterval(losses, 0);
}

}  // namespace chorale::evaluation
