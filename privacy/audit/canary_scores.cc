#include "privacy/audit/canary_scores.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

constexpr std::size_t kLeastCanaries = 16;
// Coordinates and sums that are compared in pairs: the same noise is the same everywhere.
constexpr std::size_t kComparedCoordinates = 256;
constexpr std::size_t kComparedSums = 2048;

// P[|Z| >= deviations], at most.
double NormalPValue(double deviations) {
  return std::min(1.0, 2 * std::exp(-deviations * deviations / 2));
}

// ln of a bound on either tail of chi-squared at `ratio` times its mean `freedom`.
double LogChiSquaredTail(double ratio, double freedom) {
  if (ratio <= 0) return -kInfinity;
  return -freedom / 2 * (ratio - 1 - std::log(ratio));
}

double ChiSquaredPValue(double ratio, double freedom) {
  return std::min(1.0, 2 * std::exp(LogChiSquaredTail(ratio, freedom)));
}

// P[X >= count] for a sum X of rare independent events with this mean.
double CountPValue(double count, double mean) {
  if (count <= mean) return 1;
  return std::exp(count - mean - count * std::log(count / mean));
}

}  // namespace

StatusOr<CanaryScores> CanaryScores::Create(CanaryPlan plan) {
  const auto num_in = static_cast<std::size_t>(std::ranges::count(plan.is_in, 1));
  if (num_in < kLeastCanaries || plan.is_in.size() - num_in < kLeastCanaries) {
    return InvalidArgument("an audit needs at least 16 canaries that are in and 16 that are out");
  }
  if (!(plan.sample_rate > 0 && plan.sample_rate <= 1 && plan.contribution > 0 &&
        plan.share_variance > 0 && plan.num_sites > 0)) {
    return InvalidArgument(
        "an audit needs a sample rate in (0, 1] and a positive contribution, variance and number "
        "of sites");
  }
  return CanaryScores(std::move(plan));
}

CanaryScores::CanaryScores(CanaryPlan plan) : plan_(std::move(plan)) {
  for (std::size_t i = 0; i < plan_.is_in.size(); ++i) {
    if (plan_.is_in[i] == 0) out_.push_back(i);
  }
  scores_.resize(plan_.is_in.size());
  log_ratios_.resize(plan_.is_in.size());
  squares_.resize(out_.size());
}

double CanaryScores::num_sums() const { return static_cast<double>(num_steps_) * plan_.num_sites; }

void CanaryScores::AddStep(std::span<const std::vector<std::int64_t>> sums) {
  std::vector<double> total(scores_.size());
  for (const std::vector<std::int64_t>& sum : sums) {
    AddSum(sum);
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += static_cast<double>(sum[i]);
  }
  const double variance = plan_.num_sites * plan_.share_variance;
  const double log_drawn = std::log(plan_.sample_rate);
  const double log_left = plan_.sample_rate < 1 ? std::log1p(-plan_.sample_rate) : -kInfinity;
  for (std::size_t i = 0; i < total.size(); ++i) {
    scores_[i] += total[i];
    const double exponent = (total[i] - plan_.contribution / 2) * plan_.contribution / variance;
    log_ratios_[i] += LogAdd(log_left, log_drawn + exponent);
  }
  ++num_steps_;
}

void CanaryScores::AddSum(const std::vector<std::int64_t>& sum) {
  std::vector<double> noise;
  for (std::size_t i = 0; i < out_.size(); ++i) {
    const auto value = static_cast<double>(sum[out_[i]]);
    squares_[i] += value * value;
    num_zeros_ += value == 0 ? 1 : 0;
    if (i < kComparedCoordinates) noise.push_back(value);
  }
  CompareWithEarlier(std::move(noise));
}

// Given the earlier noise, its product with noise of its own is as good as normal.
void CanaryScores::CompareWithEarlier(std::vector<double> noise) {
  const double sigma = std::sqrt(plan_.share_variance);
  double square = 0;
  for (const double value : noise) square += value * value;
  for (const std::vector<double>& earlier : recent_) {
    double product = 0;
    for (std::size_t i = 0; i < noise.size(); ++i) product += noise[i] * earlier[i];
    largest_overlap_ = std::max(largest_overlap_, std::abs(product) / sigma);
  }
  num_pairs_ += static_cast<double>(recent_.size());
  if (square > 0) {
    for (double& value : noise) value /= std::sqrt(square);
  }
  recent_.push_back(std::move(noise));
  if (recent_.size() > kComparedSums) recent_.pop_front();
}

AuditTest CanaryScores::ShiftTest() const {
  const double steps = static_cast<double>(num_steps_);
  const double rate = plan_.sample_rate;
  double mean = 0;
  for (std::size_t i = 0; i < scores_.size(); ++i) mean += plan_.is_in[i] != 0 ? scores_[i] : 0;
  const auto num_in = static_cast<double>(scores_.size() - out_.size());
  mean /= num_in;
  const double expected = steps * rate * plan_.contribution;
  const double variance = num_sums() * plan_.share_variance +
                          steps * rate * (1 - rate) * plan_.contribution * plan_.contribution;
  const double error = std::sqrt(variance / num_in);
  return {"canary_shift", mean / expected, 1, NormalPValue((mean - expected) / error)};
}

AuditTest CanaryScores::CoordinateTest() const {
  AuditTest worst{"coordinate_variance", 1, 1, 1};
  double log_p = 0;
  for (const double square : squares_) {
    const double ratio = square / (num_sums() * plan_.share_variance);
    const double log_tail = LogChiSquaredTail(ratio, num_sums());
    if (log_tail < log_p) {
      worst.measured = ratio;
      log_p = log_tail;
    }
  }
  worst.p_value = std::min(1.0, 2 * static_cast<double>(squares_.size()) * std::exp(log_p));
  return worst;
}

AuditTest CanaryScores::ReuseTest() const {
  return {"noise_reuse", largest_overlap_ / std::sqrt(static_cast<double>(recent_.front().size())),
          0, std::min(1.0, std::max(1.0, num_pairs_) * NormalPValue(largest_overlap_))};
}

std::vector<AuditTest> CanaryScores::Tests() const {
  const auto num_out = static_cast<double>(out_.size());
  const double of_sums = num_sums() * plan_.share_variance;
  double squares = 0;
  double score_squares = 0;
  for (std::size_t i = 0; i < out_.size(); ++i) {
    squares += squares_[i];
    score_squares += scores_[out_[i]] * scores_[out_[i]];
  }
  const double noise = squares / (num_out * of_sums);
  const double scores = score_squares / (num_out * of_sums);
  const double zero_share = 1 / std::sqrt(2 * std::numbers::pi * plan_.share_variance);
  const double zeros = num_out * num_sums() * zero_share;
  return {ShiftTest(),
          {"noise_variance", noise, 1, ChiSquaredPValue(noise, num_out * num_sums())},
          {"score_variance", scores, 1, ChiSquaredPValue(scores, num_out)},
          CoordinateTest(),
          {"zero_share", num_zeros_ / (num_out * num_sums()), zero_share,
           CountPValue(num_zeros_, zeros)},
          ReuseTest()};
}

}  // namespace chorale::privacy
