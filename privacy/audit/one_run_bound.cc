#include "privacy/audit/one_run_bound.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

constexpr double kMostEpsilon = 100;
constexpr double kPrecision = 1e-6;
constexpr double kShares[] = {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1};  // Of canaries guessed.

}  // namespace

double GuessingPValue(const Guesses& guesses, double epsilon, double delta) {
  const auto trials = static_cast<double>(guesses.num_guesses);
  const double log_right = -std::log1p(std::exp(-epsilon));
  const double log_wrong = log_right - epsilon;
  const auto probability = [&](std::uint64_t count) {
    const auto right = static_cast<double>(count);
    return std::exp(LogBinomial(trials, right) + right * log_right + (trials - right) * log_wrong);
  };
  double tail = 0;
  for (std::uint64_t count = guesses.num_right; count <= guesses.num_guesses; ++count) {
    tail += probability(count);
  }
  double below = 0;
  double most = 0;
  for (std::uint64_t i = 1; delta > 0 && i <= guesses.num_right; ++i) {
    below += probability(guesses.num_right - i);
    most = std::max(most, below / static_cast<double>(i));
  }
  return std::min(1.0, tail + 2 * static_cast<double>(guesses.num_canaries) * delta * most);
}

double RefutedEpsilon(const Guesses& guesses, double delta, double significance) {
  const auto is_refuted = [&](double epsilon) {
    return GuessingPValue(guesses, epsilon, delta) < significance;
  };
  if (!is_refuted(0)) return 0;
  double refuted = 0;
  double open = kMostEpsilon;
  while (open - refuted > kPrecision) {
    const double middle = (refuted + open) / 2;
    (is_refuted(middle) ? refuted : open) = middle;
  }
  return refuted;
}

EpsilonBound OneRunEpsilon(std::span<const double> scores, std::span<const std::uint8_t> is_in,
                           double delta, double significance) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order,
                           [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  EpsilonBound best;
  for (const double share : kShares) {
    const auto each = static_cast<std::size_t>(share * static_cast<double>(order.size()) / 2);
    if (each == 0) continue;
    Guesses guesses{.num_canaries = order.size(), .num_guesses = 2 * each};
    for (std::size_t i = 0; i < each; ++i) {
      guesses.num_right += is_in[order[i]] != 0 ? 1 : 0;
      guesses.num_right += is_in[order[order.size() - 1 - i]] == 0 ? 1 : 0;
    }
    const double epsilon = RefutedEpsilon(guesses, delta, significance / std::size(kShares));
    if (epsilon >= best.epsilon) best = {epsilon, guesses};
  }
  return best;
}

}  // namespace chorale::privacy
