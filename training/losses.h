#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "chorale/v1/model.pb.h"

// The losses of model.proto on LibTorch. Outputs are what a network says of some rows, before the
// link: [rows, num_outputs]; targets are [rows, num_targets].
namespace chorale::training {

// Immutable; safe for concurrent use. REQUIRES throughout: the loss of a plan, and
// targets that CheckExamples passed.
class LossFunction {
 public:
  LossFunction(const v1::Loss& spec, const at::Device& device);

  // The loss summed over rows; that of one row, without any weight for how many there are:
  //   binary cross-entropy, squared error, Huber, Poisson (exp(eta) - y eta): mean over the row's
  //     outputs; a positive target counts positive_weight times
  //   cross-entropy: times the weight of the target's class
  //   Cox: what the row adds to the negative log partial likelihood of these rows, ties after Efron
  //     (1977) or Breslow (1974); the rows are one risk set
  //   discrete survival: negative log likelihood of Gensheimer and Narasimhan (2019). Interval j is
  //     (end[j - 1], end[j]]. An event counts as survival of the intervals before its own and
  //     failure in its own; a censored row has survived the intervals whose middle it reached.
  // Dividing by rows gives a mean that adds up over sites, also where classes have weights. Scalar.
  [[nodiscard]] at::Tensor Sum(const at::Tensor& outputs, const at::Tensor& targets) const;

  // What is told of the outputs: probabilities, the value, the rate, the log hazard ratio, hazards.
  [[nodiscard]] at::Tensor Link(const at::Tensor& outputs) const;

  // Rows classified rightly, at 0.5 or by the largest output; a row of several targets counts as
  // its share of right ones. Nothing for a loss that classifies nothing. Scalar.
  [[nodiscard]] std::optional<at::Tensor> NumRight(const at::Tensor& outputs,
                                                   const at::Tensor& targets) const;

  // True where Sum() of some rows is not the sum over each of them.
  [[nodiscard]] bool couples_rows() const { return spec_.has_cox(); }

 private:
  [[nodiscard]] at::Tensor WeightsLike(const at::Tensor& outputs) const;
  at::Tensor CrossEntropySum(const at::Tensor& outputs, const at::Tensor& targets) const;
  at::Tensor CoxSum(const at::Tensor& outputs, const at::Tensor& targets) const;
  at::Tensor DiscreteSurvivalSum(const at::Tensor& outputs, const at::Tensor& targets) const;

  v1::Loss spec_;
  at::Tensor weights_;  // Of classes, or of positive targets; undefined: all 1.
  at::Tensor ends_;     // Of intervals. [num_intervals]
  at::Tensor middles_;  // [num_intervals]
  at::Tensor begins_;   // Minus infinity first, so that time 0 lies in the first interval.
};

}  // namespace chorale::training
