#include "privacy/loss_summary.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

// Where t is looked for, in units of a sum's spread: the bound for a tail of e^-x is best near
// sqrt(2 x) deviations for a normal sum, and near x over the largest loss for one that is rare.
constexpr double kLeastReach = 1e-3;
constexpr double kLargestReach = 1e4;

double LossAt(const LossDistribution& distribution, std::size_t i) {
  return static_cast<double>(distribution.first() + static_cast<std::int64_t>(i)) *
         distribution.interval();
}

// ln E[e^(t loss)].
double LogMomentOf(const std::vector<WeightedLoss>& points, double t) {
  double largest = -kInfinity;
  for (const WeightedLoss& point : points) largest = std::max(largest, t * point.loss);
  double sum = 0;
  for (const WeightedLoss& point : points) sum += point.mass * std::exp(t * point.loss - largest);
  return largest + std::log(sum);
}

// The t at which f is least, by golden section over ln t; f falls and then rises.
template <typename Function>
double Minimize(double from, double to, Function f) {
  constexpr double kGolden = 0.6180339887498949;
  double low = std::log(from);
  double high = std::log(to);
  double left = high - kGolden * (high - low);
  double right = low + kGolden * (high - low);
  double at_left = f(std::exp(left));
  double at_right = f(std::exp(right));
  for (int i = 0; i < 50; ++i) {
    if (at_left < at_right) {
      high = right;
      right = left;
      at_right = at_left;
      left = high - kGolden * (high - low);
      at_left = f(std::exp(left));
    } else {
      low = left;
      left = right;
      at_left = at_right;
      right = low + kGolden * (high - low);
      at_right = f(std::exp(right));
    }
  }
  return std::exp((low + high) / 2);
}

}  // namespace

LossSummary Summarize(const LossDistribution& distribution, const std::vector<double>& masses) {
  const double interval = distribution.interval();
  const auto loss_at = [&](std::size_t i) { return LossAt(distribution, i); };
  double total = 0;
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 0; i < masses.size(); ++i) {
    total += masses[i];
    sum += masses[i] * loss_at(i);
  }
  LossSummary summary;
  summary.mean = sum / total;
  for (std::size_t i = 0; i < masses.size(); ++i) {
    const double distance = loss_at(i) - summary.mean;
    squares += masses[i] * distance * distance;
  }
  summary.deviation = std::sqrt(squares / total);
  for (std::size_t i = 0; i < masses.size();) {
    const double distance = std::abs(loss_at(i) - summary.mean);
    const double width = std::max(summary.deviation / 16, distance / 32) / interval;
    const std::size_t end =
        std::min(masses.size() - 1, i + static_cast<std::size_t>(std::max(1.0, width)));
    double mass = 0;
    double moment = 0;  // About the block's lower end.
    const std::size_t last = end + 1 == masses.size() ? end : end - 1;
    for (std::size_t j = i; j <= last; ++j) {
      mass += masses[j];
      moment += masses[j] * (loss_at(j) - loss_at(i));
    }
    const double upper = end > i ? moment / (loss_at(end) - loss_at(i)) : 0;
    if (mass > upper) summary.points.push_back({.loss = loss_at(i), .mass = mass - upper});
    if (upper > 0) summary.points.push_back({.loss = loss_at(end), .mass = upper});
    i = last + 1;
  }
  return summary;
}

std::vector<double> Tilt(const RepeatedLoss& part, double t, double& log_norm) {
  const LossDistribution& distribution = *part.distribution;
  std::vector<double> masses = distribution.masses();
  const auto loss_at = [&](std::size_t i) { return LossAt(distribution, i); };
  double largest = -kInfinity;
  for (std::size_t i = 0; i < masses.size(); ++i) {
    if (masses[i] > 0) largest = std::max(largest, std::log(masses[i]) + t * loss_at(i));
  }
  double sum = 0;
  for (std::size_t i = 0; i < masses.size(); ++i) {
    // A tilt may overflow where there is nothing to tilt.
    if (masses[i] > 0) masses[i] *= std::exp(t * loss_at(i) - largest);
    sum += masses[i];
  }
  for (double& mass : masses) mass /= sum;
  log_norm += static_cast<double>(part.count) * (largest + std::log(sum));
  return masses;
}

void SumSummary::Add(LossSummary part, std::uint64_t count) {
  parts_.push_back(std::move(part));
  counts_.push_back(static_cast<double>(count));
}

double SumSummary::Mean() const {
  double mean = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i) mean += counts_[i] * parts_[i].mean;
  return mean;
}

double SumSummary::Deviation() const {
  double variance = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    variance += counts_[i] * parts_[i].deviation * parts_[i].deviation;
  }
  return std::sqrt(variance);
}

double SumSummary::LogMoment(double t) const {
  double sum = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    sum += counts_[i] * LogMomentOf(parts_[i].points, t);
  }
  return sum;
}

double SumSummary::TailLoss(double sign, double log_tail) const {
  const auto bound = [&](double t) { return (LogMoment(sign * t) - log_tail) / t; };
  const auto [from, to] = Reach();
  return sign * bound(Minimize(from, to, bound));
}

double SumSummary::BestTiltForTail(double log_tail) const {
  const auto [from, to] = Reach();
  return Minimize(from, to, [&](double t) { return (LogMoment(t) - log_tail) / t; });
}

double SumSummary::BestTiltForLoss(double loss) const {
  const auto [from, to] = Reach();
  return Minimize(from, to, [&](double t) { return LogMoment(t) - t * loss; });
}

std::pair<double, double> SumSummary::Reach() const {
  double largest = 0;
  for (const LossSummary& part : parts_) {
    for (const WeightedLoss& point : part.points) {
      largest = std::max(largest, std::abs(point.loss));
    }
  }
  if (largest == 0) return {1, 2};  // Nothing is ever lost: any will do.
  const double deviation = std::max(Deviation(), 1e-9 * largest);
  return {kLeastReach / std::max(deviation, largest), kLargestReach / deviation};
}

}  // namespace chorale::privacy
