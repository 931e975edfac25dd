#include "site_agent/noisy_sums.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "jobs/privacy_spec.h"
#include "training/clipped_sum.h"

namespace chorale::site_agent {
namespace {

training::Clipping ClippingOf(v1::Clipping clipping) {
  switch (clipping) {
    case v1::CLIPPING_PER_LAYER:
      return training::Clipping::kPerLayer;
    case v1::CLIPPING_AUTOMATIC:
      return training::Clipping::kAutomatic;
    default:
      return training::Clipping::kFlat;
  }
}

training::GradSampleMode ModeOf(v1::GradSampleMode mode) {
  switch (mode) {
    case v1::GRAD_SAMPLE_MODE_BK:
      return training::GradSampleMode::kBookKeeping;
    case v1::GRAD_SAMPLE_MODE_MICRO:
      return training::GradSampleMode::kMicro;
    default:
      return training::GradSampleMode::kAuto;
  }
}

std::uint64_t NumUnits(const data::Examples& examples) {
  return examples.patients.empty()
             ? 0
             : std::uint64_t{*std::ranges::max_element(examples.patients)} + 1;
}

// Of a job whose clipping adapts.
StatusOr<std::optional<jobs::ClippingScale>> ScaleOf(const NoisySums::Setup& setup,
                                                     const privacy::Grid& grid) {
  const v1::PrivacySpec& privacy = setup.spec.privacy();
  if (jobs::HasAdaptiveClipping(privacy) != setup.clipping_norm.has_value()) {
    return InvalidArgument("a clipping norm goes with clipping that adapts, and with no other");
  }
  if (!setup.clipping_norm.has_value()) return std::optional<jobs::ClippingScale>();
  if (!jobs::IsClippingNorm(*setup.clipping_norm)) {
    return InvalidArgument("the clipping norm must be in [1e-6, 1e6]");
  }
  CHORALE_ASSIGN_OR_RETURN(const jobs::ClippingScale scale, jobs::ClippingScaleOf(privacy, grid));
  return std::optional(scale);
}

}  // namespace

StatusOr<std::unique_ptr<NoisySums>> NoisySums::Create(const Setup& setup, privacy::NoiseKey key) {
  const v1::PrivacySpec& privacy = setup.spec.privacy();
  const std::uint64_t num_parameters = setup.plan.layout().num_parameters();
  CHORALE_ASSIGN_OR_RETURN(const privacy::Grid grid, jobs::GridOf(privacy, num_parameters));
  CHORALE_ASSIGN_OR_RETURN(const privacy::NoiseShare share,
                           jobs::NoiseShareOf(setup.spec, num_parameters, setup.honest_sites));
  CHORALE_ASSIGN_OR_RETURN(const privacy::DiscreteGaussian noise,
                           privacy::DiscreteGaussian::Create(share.variance));
  CHORALE_ASSIGN_OR_RETURN(
      const training::PatientSampler sampler,
      training::PatientSampler::Create(NumUnits(setup.examples), privacy.sample_rate()));
  CHORALE_ASSIGN_OR_RETURN(const std::optional<jobs::ClippingScale> scale, ScaleOf(setup, grid));
  return std::unique_ptr<NoisySums>(
      new NoisySums(setup, grid, noise, sampler, std::move(key), scale));
}

StatusOr<training::ClippedSumRequest> NoisySums::RequestFor(std::uint64_t step,
                                                            std::span<const float> parameters) {
  const v1::PrivacySpec& privacy = setup_.spec.privacy();
  CHORALE_ASSIGN_OR_RETURN(privacy::NoiseStream sampling,
                           key_.Open({.step = step, .purpose = "sampling"}));
  CHORALE_ASSIGN_OR_RETURN(privacy::NoiseStream dropout,
                           key_.Open({.step = step, .purpose = "dropout"}));
  patients_ = sampler_.Sample(sampling);
  const double bound = grid_.ClipNorm(jobs::EncodingOf(privacy));
  return training::ClippedSumRequest{.plan = setup_.plan,
                                     .train = setup_.examples,
                                     .parameters = parameters,
                                     .patients = patients_,
                                     .max_grad_norm = setup_.clipping_norm.value_or(bound),
                                     .clipping = ClippingOf(privacy.clipping()),
                                     .mode = ModeOf(privacy.grad_sample_mode()),
                                     .max_physical_batch_size = privacy.max_physical_batch_size(),
                                     .seed = dropout.NextUint64(),
                                     .cancelled = &setup_.cancelled};
}

std::span<const double> NoisySums::Scaled(std::span<const float> clipped, double votes) {
  const double factor = scale_->gradient_norm / *setup_.clipping_norm;
  scaled_.resize(clipped.size() + 1);
  for (std::size_t i = 0; i < clipped.size(); ++i) scaled_[i] = factor * double{clipped[i]};
  scaled_.back() = scale_->count_norm * votes;
  return scaled_;
}

StatusOr<std::vector<std::int64_t>> NoisySums::Sum(std::uint64_t step,
                                                   std::span<const float> parameters) {
  std::vector<std::int64_t> noisy(grid_.num_parameters());
  CHORALE_ASSIGN_OR_RETURN(privacy::NoiseStream stream,
                           key_.Open({.step = step, .purpose = "gradient"}));
  noise_.Draw(std::move(stream), noisy, setup_.num_threads);
  CHORALE_ASSIGN_OR_RETURN(training::ClippedSumRequest request, RequestFor(step, parameters));
  // Modulo 2^64, as in the ring that sums are masked in.
  const auto add = [&noisy](std::span<const std::int64_t> sum) {
    for (std::size_t i = 0; i < noisy.size(); ++i) {
      noisy[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(noisy[i]) +
                                           static_cast<std::uint64_t>(sum[i]));
    }
  };
  if (jobs::EncodingOf(setup_.spec.privacy()) == privacy::GridEncoding::kFast) {
    CHORALE_ASSIGN_OR_RETURN(const training::ClippedSum clipped,
                             setup_.trainer.SumClippedGradients(request));
    std::vector<std::int64_t> sum(noisy.size());
    CHORALE_RETURN_IF_ERROR(
        scale_ ? privacy::RoundSum(grid_, Scaled(clipped.sum, clipped.votes), sum)
               : privacy::RoundSum(grid_, std::span<const float>(clipped.sum), sum));
    add(sum);
    return noisy;
  }
  privacy::PatientSum patients(grid_);
  // What fails its check adds nothing, and nobody is told.
  request.on_patient = [&](std::span<const float> clipped, double vote) {
    if (scale_) {
      patients.Add(Scaled(clipped, vote));
    } else {
      patients.Add(clipped);
    }
  };
  CHORALE_RETURN_IF_ERROR(setup_.trainer.SumClippedGradients(request).status());
  add(patients.sum());
  return noisy;
}

StatusOr<ParameterVector> NoisySums::Gradient(std::uint64_t step,
                                              std::span<const float> parameters) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<std::int64_t> sum, Sum(step, parameters));
  const double scale = grid_.step() / jobs::ExpectedBatch(setup_.spec.privacy());
  ParameterVector gradient(sum.size());
  for (std::size_t i = 0; i < sum.size(); ++i) {
    gradient[i] = static_cast<float>(static_cast<double>(sum[i]) * scale);
  }
  return gradient;
}

data::Examples ByRecord(const data::Examples& examples) {
  data::Examples copy = examples;
  std::iota(copy.patients.begin(), copy.patients.end(), 0u);
  return copy;
}

}  // namespace chorale::site_agent
