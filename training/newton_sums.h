#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "chorale/v1/model.pb.h"
#include "core/status.h"
#include "data/examples.h"

// What a site adds to one step of Newton's method: sums over its rows, in double precision. No
// LibTorch here, and no regularisation: that is the coordinator's.
//
// A payload: loss, rows, then the gradient [p], then the upper triangle of the Hessian, row by row
// [p (p + 1) / 2]; p = num_inputs plus one for the intercept, which comes last and which Cox does
// not have. Losses are negative log likelihoods, without terms that the coefficients do not change:
//   logistic  -y eta + log(1 + exp(eta))       linear  (y - eta)^2 / 2
//   poisson   exp(eta) - y eta                 cox     negative log partial likelihood, the site's
//             rows being one stratum; ties after Efron (1977) or Breslow (1974)
//
// Rows are added in file order (Cox: by time), on one thread: the same sums for the same rows.
namespace chorale::training {

enum class NewtonKind { kLogistic, kLinear, kPoisson, kCoxEfron, kCoxBreslow };

// As many as a job may ask for: a report of 17 MB.
inline constexpr std::size_t kMaxNewtonCoefficients = 2048;

// Nothing for a model that Newton's method is not offered for.
[[nodiscard]] std::optional<NewtonKind> NewtonKindOf(const v1::ModelSpec& model);
[[nodiscard]] std::size_t NumCoefficients(NewtonKind kind, std::size_t num_inputs);
[[nodiscard]] std::size_t NewtonSumsSize(std::size_t num_coefficients);

// Time grows with num_examples * num_coefficients^2, and for Cox with sorting. No coefficients make
// an exponential overflow: beyond eta = 300 a Poisson rate is taken as constant.
// INVALID_ARGUMENT: sizes that do not fit, over kMaxNewtonCoefficients, targets that the model
// cannot have (no 0 or 1, a negative count or time). FAILED_PRECONDITION: a sum is not finite. A
// site without events adds zeros to Cox; a one-class site is no error. CANCELLED: `cancelled`,
// which may be null, is looked at every few hundred rows.
[[nodiscard]] StatusOr<std::vector<double>> NewtonSums(
    NewtonKind kind, const data::ExactExamples& examples, std::span<const double> coefficients,
    const std::atomic<bool>* cancelled = nullptr);

// What the coefficients say of each example: probability, value, rate, log hazard ratio.
// [num_examples] REQUIRES: NumCoefficients of them.
[[nodiscard]] std::vector<double> NewtonPredict(NewtonKind kind,
                                                const data::ExactExamples& examples,
                                                std::span<const double> coefficients);

}  // namespace chorale::training
