#include "jobs/adaptive_clipping.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "core/config/yaml.h"
#include "jobs/field_checks.h"
#include "jobs/privacy_spec.h"

namespace chorale::jobs {
namespace {

constexpr double kLeastNorm = 1e-6;
constexpr double kMostNorm = 1e6;
constexpr double kLeastQuantile = 0.01;
constexpr double kMostQuantile = 0.99;
constexpr double kDefaultQuantile = 0.5;
constexpr double kLeastRate = 0.001;
constexpr double kMostRate = 10;
constexpr double kDefaultRate = 0.2;
constexpr double kMostDeviation = 1e12;
// Of the count's noise by default (Andrew et al. 2021, section 3.1), and the count's share of the
// squared norm that this may cost: a hundredth.
constexpr double kDefaultDeviationOfBatch = 0.05;
constexpr double kDefaultDeviationOfNoise = 5;
constexpr double kMostShare = 0.5;
// Or votes would be lost in rounding. Of the squared norm it is less than what the grid costs.
constexpr double kLeastSteps = 8;
// A C_t that another machine has computed may differ in the last digits of every exponential.
constexpr double kRoundingOfStep = 1e-12;

Status Refuse(std::string_view field, const std::string& text) {
  return config::FieldError("privacy.adaptive_clipping." + std::string(field), text);
}

// Of the squared norm.
double ShareOf(const v1::PrivacySpec& privacy) {
  const double deviations =
      privacy.noise_multiplier() / (2 * AdaptiveClippingOf(privacy).count_stddev());
  return deviations * deviations;
}

Status CheckShare(const v1::PrivacySpec& privacy) {
  if (ShareOf(privacy) <= kMostShare) return OkStatus();
  // Rounded up to what the test above certainly accepts.
  return Refuse("count_stddev",
                "must be at least 0.7072 times noise_multiplier, " +
                    Text(0.7072 * privacy.noise_multiplier()) +
                    ", or more of the noise would be spent on the count than on the gradients, "
                    "got " +
                    Text(privacy.adaptive_clipping().count_stddev()) +
                    "; five times noise_multiplier costs the gradients half a percent");
}

}  // namespace

bool IsClippingNorm(double norm) { return norm >= kLeastNorm && norm <= kMostNorm; }

bool HasAdaptiveClipping(const v1::PrivacySpec& privacy) {
  return privacy.clipping() == v1::CLIPPING_ADAPTIVE;
}

Status ValidateAdaptiveClipping(const v1::PrivacySpec& privacy) {
  if (!HasAdaptiveClipping(privacy)) {
    if (!privacy.has_adaptive_clipping()) return OkStatus();
    return config::FieldError("privacy.adaptive_clipping", "needs clipping: adaptive");
  }
  if (!privacy.has_distributed()) {
    return config::FieldError("privacy.clipping",
                              "must not be adaptive with local: the norm follows one count over "
                              "all sites; use distributed, or clipping: flat");
  }
  const v1::AdaptiveClipping& clipping = privacy.adaptive_clipping();
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault("privacy.adaptive_clipping.initial_norm",
                                              clipping.initial_norm(), kLeastNorm, kMostNorm));
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault("privacy.adaptive_clipping.target_quantile",
                                              clipping.target_quantile(), kLeastQuantile,
                                              kMostQuantile));
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault("privacy.adaptive_clipping.learning_rate",
                                              clipping.learning_rate(), kLeastRate, kMostRate));
  if (!(clipping.count_stddev() >= 0 && clipping.count_stddev() <= kMostDeviation)) {
    return Refuse("count_stddev",
                  "must be above 0 and at most 1e12, got " + Text(clipping.count_stddev()));
  }
  return privacy.noise_multiplier() == 0 ? OkStatus() : CheckShare(privacy);
}

v1::AdaptiveClipping AdaptiveClippingOf(const v1::PrivacySpec& privacy) {
  v1::AdaptiveClipping clipping = privacy.adaptive_clipping();
  if (clipping.initial_norm() == 0) clipping.set_initial_norm(privacy.max_grad_norm());
  if (clipping.target_quantile() == 0) clipping.set_target_quantile(kDefaultQuantile);
  if (clipping.learning_rate() == 0) clipping.set_learning_rate(kDefaultRate);
  if (clipping.count_stddev() == 0) {
    clipping.set_count_stddev(std::max(kDefaultDeviationOfBatch * ExpectedBatch(privacy),
                                       kDefaultDeviationOfNoise * privacy.noise_multiplier()));
  }
  return clipping;
}

StatusOr<ClippingScale> ClippingScaleOf(const v1::PrivacySpec& privacy, const privacy::Grid& grid) {
  CHORALE_RETURN_IF_ERROR(CheckShare(privacy));
  const double clip = grid.ClipNorm(EncodingOf(privacy));
  const double steps = std::floor(std::sqrt(ShareOf(privacy)) * clip / grid.step());
  const double count_norm = std::max(steps, kLeastSteps) * grid.step();
  return ClippingScale{.gradient_norm = std::sqrt((clip - count_norm) * (clip + count_norm)),
                       .count_norm = count_norm};
}

double CountDeviation(const v1::PrivacySpec& privacy, const ClippingScale& scale,
                      std::uint32_t shares, std::uint32_t honest) {
  return privacy.noise_multiplier() * privacy.max_grad_norm() / (2 * scale.count_norm) *
         std::sqrt(static_cast<double>(shares) / honest);
}

double NoiseMultiplierOfGradients(const v1::PrivacySpec& privacy, const ClippingScale& scale) {
  return privacy.noise_multiplier() * std::hypot(scale.gradient_norm, scale.count_norm) /
         scale.gradient_norm;
}

double NextClippingNorm(const v1::PrivacySpec& privacy, double norm, double votes) {
  const v1::AdaptiveClipping clipping = AdaptiveClippingOf(privacy);
  const double unclipped = std::clamp(0.5 + votes / (2 * ExpectedBatch(privacy)), 0.0, 1.0);
  const double next =
      norm * std::exp(-clipping.learning_rate() * (unclipped - clipping.target_quantile()));
  return std::clamp(next, kLeastNorm, kMostNorm);
}

Status CheckClippingNorm(const v1::PrivacySpec& privacy, std::uint32_t round, double norm) {
  const v1::AdaptiveClipping clipping = AdaptiveClippingOf(privacy);
  const double steps = round <= 1 ? 0.0 : round - 1.0;
  const double rate = steps * clipping.learning_rate();
  const double slack = steps * kRoundingOfStep;
  const double low =
      clipping.initial_norm() * (1 - slack) * std::exp(-rate * (1 - clipping.target_quantile()));
  const double high =
      clipping.initial_norm() * (1 + slack) * std::exp(rate * clipping.target_quantile());
  const double least = std::clamp(low, kLeastNorm, kMostNorm);
  const double most = std::clamp(high, kLeastNorm, kMostNorm);
  if (norm >= least && norm <= most) return OkStatus();
  return InvalidArgument("must be in [" + Text(least) + ", " + Text(most) + "] in round " +
                         std::to_string(round) + ", got " + Text(norm));
}

}  // namespace chorale::jobs
