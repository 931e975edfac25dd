#include "privacy/noise/discrete_gaussian_rdp.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>

#include "privacy/sampled_gaussian_rdp.h"

namespace chorale::privacy {

DiscreteGaussianSum SumOf(const Grid& grid, const NoiseShare& share) {
  // Rounded down: less noise costs more.
  const double sigma = std::nextafter(std::sqrt(ToDouble(share.variance)), 0.0);
  return {.num_shares = share.num_honest,
          .share_sigma = sigma,
          .num_parameters = grid.num_parameters(),
          .sensitivity = share.sensitivity};
}

double SumDistance(std::uint32_t num_shares, double share_sigma) {
  constexpr double kPi = std::numbers::pi;
  double sum = 0;
  for (std::uint32_t k = 1; k < num_shares; ++k) {
    const double part = static_cast<double>(k) / (k + 1.0);
    sum += std::exp(-2 * kPi * kPi * share_sigma * share_sigma * part);
  }
  return 10 * sum;
}

double DiscreteGaussianSumRdp(const DiscreteGaussianSum& sum, double order) {
  const double tau = SumDistance(sum.num_shares, sum.share_sigma);
  const double sigma = std::sqrt(static_cast<double>(sum.num_shares)) * sum.share_sigma;
  const auto d = static_cast<double>(sum.num_parameters);
  const double ratio = sum.sensitivity / sigma;
  const double manhattan =
      std::min(std::sqrt(d) * sum.sensitivity, sum.sensitivity * sum.sensitivity);
  const double shifted = ratio + tau * std::sqrt(d);
  return std::min({order * ratio * ratio / 2 + tau * d,
                   order / 2 * (ratio * ratio + 2 * manhattan * tau / sigma + tau * tau * d),
                   order / 2 * shifted * shifted});
}

StatusOr<RdpCurve> SampledDiscreteGaussianRdp(const DiscreteGaussianSum& sum, double sample_rate,
                                              std::span<const double> orders) {
  if (!(sum.share_sigma >= kMinShareSigma) || !std::isfinite(sum.share_sigma)) {
    std::ostringstream text;
    text << "the grid is too coarse: each share of the noise must have a standard deviation of at "
         << "least " << kMinShareSigma << " steps, got " << sum.share_sigma;
    return InvalidArgument(text.str());
  }
  if (sum.num_shares < 1 || !(sum.sensitivity > 0) || !std::isfinite(sum.sensitivity)) {
    return InvalidArgument("a noisy sum has at least one share and a positive sensitivity");
  }
  if (!(sample_rate >= 0 && sample_rate <= 1)) {
    std::ostringstream text;
    text << "sample_rate must be in [0, 1], got " << sample_rate;
    return InvalidArgument(text.str());
  }
  const double noise =
      std::sqrt(static_cast<double>(sum.num_shares)) * sum.share_sigma / sum.sensitivity;
  RdpCurve curve;
  for (const double order : orders) {
    if (!(order > 1) || order != std::floor(order) || !std::isfinite(order)) {
      std::ostringstream text;
      text << "discrete Gaussian noise on samples is accounted for at whole orders above 1, got "
           << order;
      return InvalidArgument(text.str());
    }
    curve.orders.push_back(order);
    curve.values.push_back(SampledGaussianRdp(sample_rate, noise, order));
  }
  return curve;
}

}  // namespace chorale::privacy
