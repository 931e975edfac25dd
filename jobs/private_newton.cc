#include "jobs/private_newton.h"

#include <cmath>
#include <string>
#include <string_view>

#include "core/config/yaml.h"
#include "jobs/field_checks.h"

namespace chorale::jobs {
namespace {

constexpr std::string_view kField = "privacy.newton";
constexpr double kLeastHessianNorm = 1e-6;
constexpr double kMostHessianNorm = 1e9;
constexpr double kLeastShare = 0.01;
constexpr double kMostShare = 0.99;
constexpr double kDefaultShare = 0.25;

// What DP-SGD can choose and sums over all patients cannot.
Status CheckOfSteps(const v1::PrivacySpec& privacy) {
  const auto refuse = [](std::string_view field, const std::string& text) {
    return config::FieldError("privacy." + std::string(field), text);
  };
  if (!privacy.has_distributed()) {
    return refuse("local",
                  "is not possible with newton, which a site cannot do by itself: choose "
                  "distributed: {}");
  }
  if (privacy.sample_rate() != 0) {
    return refuse("sample_rate",
                  "must be left out with newton: every round is a sum over all patients");
  }
  if (privacy.clipping() != v1::CLIPPING_UNSPECIFIED && privacy.clipping() != v1::CLIPPING_FLAT) {
    return refuse("clipping",
                  "must be flat with newton: privacy.newton.max_hessian_norm is the other bound");
  }
  if (privacy.grad_sample_mode() != v1::GRAD_SAMPLE_MODE_UNSPECIFIED ||
      privacy.max_physical_batch_size() != 0) {
    return refuse("grad_sample_mode",
                  "must be left out with newton, as max_physical_batch_size: patients are summed "
                  "one by one");
  }
  if (privacy.encoding() == v1::GRID_ENCODING_FAST) {
    return refuse("encoding", "must be verified with newton");
  }
  if (!privacy.has_metrics()) return OkStatus();
  return refuse("metrics", "is not possible with newton in this version");
}

}  // namespace

bool IsPrivateNewton(const v1::JobSpec& spec) { return spec.has_newton() && spec.has_privacy(); }

Status ValidatePrivateNewton(const v1::JobSpec& spec, const models::GraphPlan& plan) {
  const v1::ModelSpec& model = spec.model();
  if (!model.has_logistic_regression() && !model.has_linear_regression()) {
    return config::FieldError("newton",
                              "solves logistic_regression and linear_regression alone in a private "
                              "job: the rates of poisson_regression grow exponentially, so that "
                              "noisy steps run away, and the risk sets of cox mix patients");
  }
  if (spec.newton().tolerance() != 0) {
    return config::FieldError("newton.tolerance",
                              "must be left out of a private job: all of rounds.count are taken");
  }
  CHORALE_RETURN_IF_ERROR(CheckOfSteps(spec.privacy()));
  const v1::PrivateNewton& newton = spec.privacy().newton();
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault("privacy.newton.max_hessian_norm",
                                              newton.max_hessian_norm(), kLeastHessianNorm,
                                              kMostHessianNorm));
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault("privacy.newton.hessian_share",
                                              newton.hessian_share(), kLeastShare, kMostShare));
  return GridOf(NewtonSumOf(spec, plan.layout().num_parameters()), spec.privacy()).status();
}

training::NewtonBounds NewtonBoundsOf(const v1::JobSpec& spec, std::uint64_t num_coefficients) {
  const v1::PrivacySpec& privacy = spec.privacy();
  const v1::PrivateNewton& newton = privacy.newton();
  const auto size = static_cast<double>(num_coefficients);
  const double fallback =
      spec.model().has_linear_regression() ? size : privacy.max_grad_norm() * std::sqrt(size) / 2;
  return {.gradient = privacy.max_grad_norm(),
          .hessian = newton.max_hessian_norm() == 0 ? fallback : newton.max_hessian_norm(),
          .hessian_share = newton.hessian_share() == 0 ? kDefaultShare : newton.hessian_share()};
}

NoisySum NewtonSumOf(const v1::JobSpec& spec, std::uint64_t num_coefficients) {
  return {.field = kField,
          .num_values = training::NewtonVectorSize(num_coefficients),
          .norm = 1,
          .noise_multiplier = spec.privacy().noise_multiplier()};
}

NewtonDeviations NewtonDeviationsOf(const v1::JobSpec& spec, std::uint64_t num_coefficients) {
  const training::NewtonBounds bounds = NewtonBoundsOf(spec, num_coefficients);
  const double multiplier = spec.privacy().noise_multiplier();
  return {.gradient = multiplier * bounds.gradient / std::sqrt(1 - bounds.hessian_share),
          .hessian = multiplier * bounds.hessian / std::sqrt(bounds.hessian_share)};
}

}  // namespace chorale::jobs
