#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "models/graph.h"
#include "training/clipped_sum.h"

// The arithmetic of clipping. No LibTorch here.
namespace chorale::training {

// For each parameter of the plan, the number of its layer: nodes with parameters count from 0.
[[nodiscard]] std::vector<std::size_t> LayersOfParameters(const models::GraphPlan& plan);
[[nodiscard]] std::size_t NumLayers(const models::GraphPlan& plan);

// What the gradients of patients are multiplied with.
class ClippingRule {
 public:
  // REQUIRES: max_grad_norm > 0, num_layers > 0.
  ClippingRule(Clipping clipping, double max_grad_norm, std::size_t num_layers);

  struct Verdict {
    bool is_finite = true;    // False for a norm that is not, or beyond 2^120 C: factors of 0.
    bool is_clipped = false;  // As of ClippedSum::num_clipped.
    double vote = 0;          // As of ClippedSum::votes; 0 for a norm that is not finite.
  };
  // From a patient's squared norm of each layer, the factor of each. [num_layers]
  Verdict Decide(std::span<const double> squares, std::span<double> factors) const;

 private:
  Clipping clipping_;
  double max_grad_norm_;
  double max_layer_norm_;  // Of kPerLayer.
};

// A sum of squares below this may, in single precision, have lost some that count: those of a
// vector's outputs, say, which are multiplied with large inputs' later.
inline constexpr double kLeastSquareSum = 0x1p-60;

// Sum of squares, to about single precision; beyond its range, either way, in double. NaN and
// infinity stay.
[[nodiscard]] double SumOfSquares(std::span<const float> values);
[[nodiscard]] double SumOfSquares(std::span<const double> values);

}  // namespace chorale::training
