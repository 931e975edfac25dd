#include "privacy/audit/draw_scores.h"

#include <algorithm>
#include <cmath>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

constexpr int kDoublings = 40;
constexpr int kSearchSteps = 100;

// The squared distance of a binomial number from its mean, over its variance.
struct SquaredDistance {
  std::vector<double> squares;
  std::vector<double> log_probabilities;
};

SquaredDistance DistanceOf(std::size_t trials, double rate) {
  const auto n = static_cast<double>(trials);
  SquaredDistance distance;
  for (std::size_t k = 0; k <= trials; ++k) {
    const auto successes = static_cast<double>(k);
    const double apart = successes - n * rate;
    distance.squares.push_back(apart * apart / (n * rate * (1 - rate)));
    distance.log_probabilities.push_back(LogBinomial(n, successes) + successes * std::log(rate) +
                                         (n - successes) * std::log1p(-rate));
  }
  return distance;
}

// ln of Chernoff's bound on either tail of the mean of `count` such distances: the least of
// count (ln E exp(t distance) - t mean) over t of one sign, a convex function of t.
double LogTail(const SquaredDistance& distance, double mean, double count) {
  const auto bound_at = [&](double t) {
    double log_sum = -kInfinity;
    for (std::size_t k = 0; k < distance.squares.size(); ++k) {
      log_sum = LogAdd(log_sum, distance.log_probabilities[k] + t * distance.squares[k]);
    }
    return count * (log_sum - t * mean);
  };
  double end = mean < 1 ? -1 : 1;
  for (int i = 0; i < kDoublings && bound_at(2 * end) < bound_at(end); ++i) end *= 2;
  double low = 0;
  double high = 2 * end;
  for (int i = 0; i < kSearchSteps; ++i) {
    const double left = low + (high - low) / 3;
    const double right = high - (high - low) / 3;
    (bound_at(left) < bound_at(right) ? high : low) =
        bound_at(left) < bound_at(right) ? right : left;
  }
  return std::min(0.0, bound_at(low));
}

// Of numbers that are binomial, with so many trials, and independent under correct code.
AuditTest TestOf(std::string name, const std::vector<double>& numbers, std::size_t trials,
                 double rate) {
  const double expected = static_cast<double>(trials) * rate;
  double mean = 0;
  for (const double number : numbers) mean += (number - expected) * (number - expected);
  const auto count = static_cast<double>(numbers.size());
  // Everybody in every step.
  if (rate == 1) return {std::move(name), mean / count, 0, mean == 0 ? 1.0 : 0.0};
  mean /= count * expected * (1 - rate);
  const double log_p = LogTail(DistanceOf(trials, rate), mean, count);
  return {std::move(name), mean, 1, std::min(1.0, 2 * std::exp(log_p))};
}

}  // namespace

StatusOr<DrawScores> DrawScores::Create(std::uint64_t num_canaries, double sample_rate) {
  if (num_canaries == 0 || !(sample_rate > 0 && sample_rate <= 1)) {
    return InvalidArgument("draws are told of canaries and a sample rate in (0, 1]");
  }
  return DrawScores(num_canaries, sample_rate);
}

void DrawScores::AddStep(std::span<const std::uint8_t> is_drawn) {
  double size = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    counts_[i] += is_drawn[i];
    size += is_drawn[i];
  }
  sizes_.push_back(size);
}

std::vector<AuditTest> DrawScores::Tests() const {
  return {TestOf("draw_sizes", sizes_, counts_.size(), sample_rate_),
          TestOf("draw_counts", counts_, sizes_.size(), sample_rate_)};
}

}  // namespace chorale::privacy
