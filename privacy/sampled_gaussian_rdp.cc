#include "privacy/sampled_gaussian_rdp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "privacy/log_math.h"
#include "privacy/monotone_pair.h"
#include "privacy/pair_rdp.h"

namespace chorale::privacy {
namespace {

constexpr int kMaxTerms = 200'000;
// Below this, ln A by the series has lost more digits than quadrature.
constexpr double kLeastLogMoment = 1e-3;
// Terms this far below the largest no longer matter: e^-32 is 1e-14.
constexpr double kNegligible = 32;

// ln(A) for a whole order, from A - 1 = sum over k >= 2 of
// C(order, k) (1-q)^(order-k) q^k (e^((k^2-k) / 2 noise^2) - 1): nothing cancels.
double LogMomentOfWholeOrder(double q, double noise, double order) {
  double log_excess = -kInfinity;
  for (int i = 2; i <= static_cast<int>(order); ++i) {
    const double k = i;
    log_excess =
        LogAdd(log_excess, LogBinomial(order, k) + k * std::log(q) + (order - k) * std::log1p(-q) +
                               LogExpm1((k * k - k) / (2 * noise * noise)));
  }
  return LogAdd(0, log_excess);
}

}  // namespace

double LogMomentBySeries(double sample_rate, double noise, double order) {
  const double log_q = std::log(sample_rate);
  const double log_1q = std::log1p(-sample_rate);
  const double variance = noise * noise;
  const double split = variance * (log_1q - log_q) + 0.5;
  const double scale = 1 / (std::numbers::sqrt2 * noise);
  struct Term {
    double log_size;
    bool is_negative;
  };
  std::vector<Term> terms;
  double coefficient = 1;  // C(order, i), which changes sign for every i above the order.
  double largest = -kInfinity;
  for (int i = 0; i < kMaxTerms; ++i) {
    const double j = order - i;
    const double log_coefficient = std::log(std::abs(coefficient)) - std::numbers::ln2;
    const double below = log_coefficient + i * log_q + j * log_1q +
                         (static_cast<double>(i) * i - i) / (2 * variance) +
                         LogErfc((i - split) * scale);
    const double above = log_coefficient + j * log_q + i * log_1q + (j * j - j) / (2 * variance) +
                         LogErfc((split - j) * scale);
    terms.push_back({.log_size = below, .is_negative = coefficient < 0});
    terms.push_back({.log_size = above, .is_negative = coefficient < 0});
    largest = std::max({largest, below, above});
    // What follows alternates and falls, hence sums to less than the next term.
    if (i > order + 1 && std::max(below, above) < largest - kNegligible) {
      double sum = 0;
      std::sort(terms.begin(), terms.end(),
                [](const Term& a, const Term& b) { return a.log_size < b.log_size; });
      for (const Term& term : terms) {
        const double size = std::exp(term.log_size - largest);
        sum += term.is_negative ? -size : size;
      }
      return largest + std::log(sum);
    }
    coefficient *= (order - i) / (i + 1);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

double SampledGaussianRdp(double sample_rate, double noise, double order) {
  if (sample_rate == 0) return 0;
  if (noise == 0) return kInfinity;
  if (sample_rate == 1) return order / (2 * noise * noise);
  if (order == std::floor(order)) {
    return LogMomentOfWholeOrder(sample_rate, noise, order) / (order - 1);
  }
  const double log_moment = LogMomentBySeries(sample_rate, noise, order);
  if (log_moment > kLeastLogMoment) return log_moment / (order - 1);
  return PairRdp(NormalPair(Direction::kRemove,
                            {{.size = 0, .probability = 1 - sample_rate},
                             {.size = 1, .probability = sample_rate}},
                            noise),
                 order);
}

}  // namespace chorale::privacy
