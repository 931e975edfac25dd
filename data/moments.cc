#include "data/moments.h"

#include <algorithm>
#include <cmath>

namespace chorale::data {
namespace {

// Share of the sum of squares that rounding may leave in the variance: some hundred roundings of
// 2^-53, since the sums of up to a thousand sites are added up.
constexpr double kRoundingShare = 1e-13;

class CompensatedSum {
 public:
  void Add(double value) {
    const double total = sum_ + value;
    compensation_ +=
        std::abs(sum_) >= std::abs(value) ? (sum_ - total) + value : (value - total) + sum_;
    sum_ = total;
  }
  [[nodiscard]] double Total() const { return sum_ + compensation_; }

 private:
  double sum_ = 0;
  double compensation_ = 0;
};

double SumOf(std::span<const double> values, double offset) {
  CompensatedSum sum;
  for (const double value : values) sum.Add(value - offset);
  return sum.Total();
}

double SumOfSquares(std::span<const double> values, double offset) {
  CompensatedSum sum;
  for (const double value : values) sum.Add((value - offset) * (value - offset));
  return sum.Total();
}

}  // namespace

Moments MomentsOf(const MomentSums& sums) {
  if (!std::isfinite(sums.count) || !std::isfinite(sums.sum) ||
      !std::isfinite(sums.sum_of_squares) || sums.count < 1) {
    return {};
  }
  const double mean = sums.sum / sums.count;
  if (sums.count < 2) return {.mean = mean, .standard_deviation = 1};
  const double squares = sums.sum_of_squares - mean * sums.sum;
  // Also false for a NaN, and for the negative values that cancellation produces.
  if (!(squares > kRoundingShare * sums.sum_of_squares)) {
    return {.mean = mean, .standard_deviation = 1};
  }
  const double deviation = std::sqrt(squares / (sums.count - 1));
  // Squares of the smallest numbers vanish when they are shared out.
  return {.mean = mean, .standard_deviation = deviation > 0 ? deviation : 1};
}

Moments MomentsOf(std::span<const double> values) {
  if (values.empty()) return {};
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  if (*least == *most) return {.mean = *least, .standard_deviation = 1};
  const auto count = static_cast<double>(values.size());
  const double mean = SumOf(values, 0) / count;
  const double deviation = std::sqrt(SumOfSquares(values, mean) / (count - 1));
  if (!std::isfinite(mean) || !std::isfinite(deviation) || !(deviation > 0)) return {};
  return {.mean = mean, .standard_deviation = deviation};
}

MomentSums SumsOf(std::span<const double> values) {
  return {.count = static_cast<double>(values.size()),
          .sum = SumOf(values, 0),
          .sum_of_squares = SumOfSquares(values, 0)};
}

}  // namespace chorale::data
