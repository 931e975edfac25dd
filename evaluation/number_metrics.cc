#include <algorithm>
#include <cmath>
#include <vector>

#include "evaluation/metrics.h"

namespace chorale::evaluation {
namespace {

constexpr double kZ = 1.959963984540054;  // 97.5 % quantile of the normal distribution.

// Why an error cannot be told, or null.
const char* Untellable(std::span<const float> predictions) {
  if (const char* reason = Unusable(predictions)) return reason;
  return predictions.size() < 2 ? "one row" : nullptr;
}

// Of each row. [n]
std::vector<double> SquaredErrors(std::span<const float> predictions,
                                  std::span<const float> targets) {
  std::vector<double> squares(targets.size());
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const double error = static_cast<double>(predictions[i]) - static_cast<double>(targets[i]);
    squares[i] = error * error;
  }
  return squares;
}

}  // namespace

Metric RootMeanSquaredError(std::span<const float> predictions, std::span<const float> targets) {
  if (const char* reason = Untellable(predictions)) return NotEstimable(reason);
  const Metric square = MeanInterval(SquaredErrors(predictions, targets), 0);
  return Estimated(std::sqrt(square.estimate->value), std::sqrt(square.estimate->lower),
                   std::sqrt(square.estimate->upper));
}

Metric MeanAbsoluteError(std::span<const float> predictions, std::span<const float> targets) {
  if (const char* reason = Untellable(predictions)) return NotEstimable(reason);
  std::vector<double> errors(targets.size());
  for (std::size_t i = 0; i < targets.size(); ++i) {
    errors[i] = std::abs(static_cast<double>(predictions[i]) - static_cast<double>(targets[i]));
  }
  return MeanInterval(errors, 0);
}

Metric Determination(std::span<const float> predictions, std::span<const float> targets) {
  if (const char* reason = Untellable(predictions)) return NotEstimable(reason);
  const std::vector<double> values(targets.begin(), targets.end());
  const double mean = MeanOf(values);
  std::vector<double> spreads;
  for (const double value : values) spreads.push_back((value - mean) * (value - mean));
  const double spread = MeanOf(spreads);
  if (spread <= 0) return NotEstimable("one value");

  const std::vector<double> errors = SquaredErrors(predictions, targets);
  const double ratio = MeanOf(errors) / spread;
  // How each row moves the ratio of the two means; that the mean of the targets moves with it does
  // not count to first order.
  std::vector<double> influence(errors.size());
  for (std::size_t i = 0; i < errors.size(); ++i) {
    influence[i] = (errors[i] - ratio * spreads[i]) / spread;
  }
  const double half = kZ * std::sqrt(VarianceOf(influence) / static_cast<double>(errors.size()));
  return Estimated(1 - ratio, 1 - ratio - half, std::min(1.0, 1 - ratio + half));
}

}  // namespace chorale::evaluation
