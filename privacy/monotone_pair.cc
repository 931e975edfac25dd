#include "privacy/monotone_pair.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

// The normal distribution has mass 5.6e-23 above this many deviations.
constexpr double kTailDeviations = 9.8;

// ln(1 - rate + rate e^exponent).
double LogMixed(double rate, double exponent) {
  if (rate == 1) return exponent;
  if (exponent > 600) return LogAdd(std::log1p(-rate), std::log(rate) + exponent);
  if (exponent > -1 && exponent < 1) return std::log1p(rate * std::expm1(exponent));
  const double power = std::exp(exponent);
  const double change = rate * (power - 1);
  return change > -0.5 && change < 0.5 ? std::log1p(change) : std::log((1 - rate) + rate * power);
}

// The exponent at which LogMixed is `loss`; -infinity where it is always more.
double UnmixedExponent(double rate, double loss) {
  if (rate == 1) return loss;
  if (loss > 600) return loss - std::log(rate);
  const double change = std::expm1(loss) / rate;
  return change <= -1 ? -kInfinity : std::log1p(change);
}

// ln of sum w_i exp((s_i x - s_i^2/2) / noise^2), and its slope.
struct Ratio {
  double log = 0;
  double slope = 0;
};
Ratio RatioAt(const std::vector<Contribution>& contributions, double x, double noise) {
  const double scale = 1 / (noise * noise);
  const auto exponent = [&](const Contribution& c) { return c.size * (x - c.size / 2) * scale; };
  double largest = -kInfinity;
  for (const Contribution& c : contributions) largest = std::max(largest, exponent(c));
  const double shift = largest > 600 ? largest : 0;
  double sum = 0;
  double slope = 0;
  for (const Contribution& c : contributions) {
    const double term = c.probability * std::exp(exponent(c) - shift);
    sum += term;
    slope += term * c.size * scale;
  }
  Ratio ratio{.log = shift + std::log(sum), .slope = slope / sum};
  if (sum > 0.5 && sum < 1.5 && shift == 0) {
    // The probabilities add up to 1: near it, the difference from 1 is the precise one.
    double change = 0;
    for (const Contribution& c : contributions) change += c.probability * std::expm1(exponent(c));
    ratio.log = std::log1p(change);
  }
  return ratio;
}

double LogRatio(const std::vector<Contribution>& contributions, double x, double noise) {
  const auto exponent = [&](const Contribution& c) {
    return c.size * (x - c.size / 2) / (noise * noise);
  };
  if (contributions.size() == 1) return exponent(contributions.front());
  if (contributions.size() == 2 && contributions.front().size == 0) {
    return LogMixed(contributions.back().probability, exponent(contributions.back()));
  }
  return RatioAt(contributions, x, noise).log;
}

}  // namespace

NormalPair::NormalPair(Direction direction, std::vector<Contribution> contributions, double noise)
    : direction_(direction), contributions_(std::move(contributions)), noise_(noise) {
  std::erase_if(contributions_, [](const Contribution& c) { return c.probability <= 0; });
  std::sort(contributions_.begin(), contributions_.end(),
            [](const Contribution& a, const Contribution& b) { return a.size < b.size; });
  largest_ = contributions_.back().size;
  const double least = contributions_.front().size;
  low_ = (direction_ == Direction::kAdd ? 0 : least) - kTailDeviations * noise_;
  high_ = (direction_ == Direction::kAdd ? 0 : largest_) + kTailDeviations * noise_;
  const double spread = (direction_ == Direction::kReplace ? 2 : 1) * largest_;
  largest_loss_ = At(high_).loss;
  length_scale_ = spread > 0 ? std::min(noise_, noise_ * noise_ / spread) : noise_;
}

double NormalPair::LogRatioP(double x) const {
  return direction_ == Direction::kAdd ? 0 : LogRatio(contributions_, x, noise_);
}

double NormalPair::LogRatioQ(double x) const {
  return direction_ == Direction::kRemove ? 0 : LogRatio(contributions_, -x, noise_);
}

MonotonePair::Point NormalPair::At(double x) const {
  const double ratio = LogRatioP(x);
  const double z = x / noise_;
  return {.density = std::exp(ratio - z * z / 2) / (noise_ * std::sqrt(2 * std::numbers::pi)),
          .loss = ratio - LogRatioQ(x)};
}

double NormalPair::PointOf(double loss, double from) const {
  const bool is_sampled = contributions_.size() == 2 && contributions_.front().size == 0;
  const bool has_formula = is_sampled || (contributions_.size() == 1 && largest_ > 0);
  const double x = has_formula ? PointByFormula(loss) : PointBySearch(loss, from);
  return std::clamp(x, from, high_);
}

// With r the probability of contribution s, from ln(1 - r + r e^y) = loss where
// y = (2 s x - s^2) / (2 noise^2).
double NormalPair::PointByFormula(double loss) const {
  const double rate = contributions_.back().probability;
  const double variance = noise_ * noise_;
  switch (direction_) {
    case Direction::kRemove:
      return variance * UnmixedExponent(rate, loss) / largest_ + largest_ / 2;
    case Direction::kAdd:
      return -variance * UnmixedExponent(rate, -loss) / largest_ - largest_ / 2;
    case Direction::kReplace:
      break;
  }
  // The quadratic in e^(s x / noise^2) that the ratio of two mixtures gives is solved by
  // s x / noise^2 = loss/2 + asinh((1/r - 1) e^(s^2 / 2 noise^2) sinh(loss/2)).
  double correction = 0;
  if (rate < 1 && loss != 0) {
    const double half = std::abs(loss) / 2;
    const double log_sinh = half > 300 ? half - std::numbers::ln2 : std::log(std::sinh(half));
    const double log_argument =
        std::log1p(-rate) - std::log(rate) + largest_ * largest_ / (2 * variance) + log_sinh;
    correction =
        log_argument > 300 ? log_argument + std::numbers::ln2 : std::asinh(std::exp(log_argument));
  }
  return variance / largest_ * (loss / 2 + std::copysign(correction, loss));
}

// Newton's method from `from`, kept between ends that close in.
double NormalPair::PointBySearch(double loss, double from) const {
  if (loss >= largest_loss_) return high_;
  double low = from;
  double high = high_;
  double x = from;
  for (int i = 0; i < 200; ++i) {
    const Ratio p = direction_ == Direction::kAdd ? Ratio{} : RatioAt(contributions_, x, noise_);
    // Q's contributions are the mirrored ones.
    const Ratio q =
        direction_ == Direction::kRemove ? Ratio{} : RatioAt(contributions_, -x, noise_);
    const double difference = p.log - q.log - loss;
    if (std::abs(difference) < 1e-12 * std::max(1.0, std::abs(loss))) return x;
    if (difference > 0 && x == from) return from;
    (difference < 0 ? low : high) = x;
    x -= difference / (p.slope + q.slope);
    if (!(x > low && x < high)) x = low + (high - low) / 2;
    if (!(x > low && x < high)) return high;
  }
  return high;
}

LaplacePair::LaplacePair(Direction direction, double rate, double scale)
    : is_remove_(direction == Direction::kRemove), rate_(rate), scale_(scale) {}

MonotonePair::Point LaplacePair::At(double x) const {
  if (is_remove_) {
    return {.density = ((1 - rate_) * std::exp(-x / scale_) + rate_ * std::exp((x - 1) / scale_)) /
                       (2 * scale_),
            .loss = LogMixed(rate_, (2 * x - 1) / scale_)};
  }
  return {.density = std::exp(x / scale_) / (2 * scale_),
          .loss = -LogMixed(rate_, (-2 * x - 1) / scale_)};
}

double LaplacePair::PointOf(double loss, double from) const {
  const double exponent = UnmixedExponent(rate_, is_remove_ ? loss : -loss);
  const double distance = (scale_ * exponent + 1) / 2;
  return std::clamp(is_remove_ ? distance : -distance, from, high());
}

double LaplacePair::MassBelow() const {
  const double far = std::exp(-1 / scale_) / 2;
  return is_remove_ ? (1 - rate_) / 2 + rate_ * far : far;
}

double LaplacePair::MassAbove() const {
  const double far = std::exp(-1 / scale_) / 2;
  return is_remove_ ? (1 - rate_) * far + rate_ / 2 : 0.5;
}

}  // namespace chorale::privacy
