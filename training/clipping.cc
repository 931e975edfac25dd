#include "training/clipping.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace chorale::training {
namespace {

// Keeps a gradient of norm 0 from a division by zero (Abadi et al. 2016, as Opacus has it).
constexpr double kFlatMargin = 1e-6;
// Of automatic clipping (Bu et al. 2022, arXiv 2206.07136): small gradients keep some difference.
constexpr double kAutomaticMargin = 0.01;
// The least factor that single precision holds in full. A gradient that needs less counts as
// infinite.
constexpr double kMinFactor = 0x1p-120;
// How far from C, in parts of it, a gradient's vote is all for or against.
constexpr double kVoteWidth = 0.125;
// Numbers whose squares are added in single precision before they join the sum in double.
constexpr std::size_t kBlock = 256;

double Clipped(double max_norm, double norm) {
  return std::min(1.0, max_norm / (norm + kFlatMargin));
}

ClippingRule::Verdict Refuse(std::span<double> factors) {
  std::fill(factors.begin(), factors.end(), 0.0);
  return {.is_finite = false};
}

}  // namespace

std::vector<std::size_t> LayersOfParameters(const models::GraphPlan& plan) {
  std::vector<std::size_t> layers(plan.parameters().size());
  std::size_t layer = 0;
  for (const models::GraphStep& step : plan.steps()) {
    if (step.num_parameters == 0) continue;
    for (std::size_t i = 0; i < step.num_parameters; ++i) layers[step.first_parameter + i] = layer;
    ++layer;
  }
  return layers;
}

std::size_t NumLayers(const models::GraphPlan& plan) {
  return static_cast<std::size_t>(
      std::count_if(plan.steps().begin(), plan.steps().end(),
                    [](const models::GraphStep& step) { return step.num_parameters > 0; }));
}

ClippingRule::ClippingRule(Clipping clipping, double max_grad_norm, std::size_t num_layers)
    : clipping_(clipping),
      max_grad_norm_(max_grad_norm),
      max_layer_norm_(max_grad_norm / std::sqrt(static_cast<double>(num_layers))) {}

ClippingRule::Verdict ClippingRule::Decide(std::span<const double> squares,
                                           std::span<double> factors) const {
  const double square = std::accumulate(squares.begin(), squares.end(), 0.0);
  if (!std::isfinite(square)) return Refuse(factors);
  const double norm = std::sqrt(square);
  if (clipping_ == Clipping::kPerLayer) {
    for (std::size_t i = 0; i < factors.size(); ++i) {
      factors[i] = Clipped(max_layer_norm_, std::sqrt(squares[i]));
    }
  } else {
    std::fill(factors.begin(), factors.end(),
              clipping_ == Clipping::kFlat ? Clipped(max_grad_norm_, norm)
                                           : max_grad_norm_ / (norm + kAutomaticMargin));
  }
  const double least = *std::min_element(factors.begin(), factors.end());
  if (least < kMinFactor) return Refuse(factors);
  return {.is_clipped = clipping_ == Clipping::kAutomatic ? norm > max_grad_norm_ : least < 1,
          .vote = std::clamp((1 - norm / max_grad_norm_) / kVoteWidth, -1.0, 1.0)};
}

double SumOfSquares(std::span<const float> values) {
  double sum = 0;
  for (std::size_t first = 0; first < values.size(); first += kBlock) {
    const std::span<const float> block =
        values.subspan(first, std::min(kBlock, values.size() - first));
    float part = 0;
#pragma omp simd reduction(+ : part)
    for (std::size_t i = 0; i < block.size(); ++i) part += block[i] * block[i];
    sum += double{part};
  }
  if (std::isfinite(sum) && sum >= kLeastSquareSum) return sum;
  sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  return sum;
}

double SumOfSquares(std::span<const double> values) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t i = 0; i < values.size(); ++i) sum += values[i] * values[i];
  return sum;
}

}  // namespace chorale::training
