#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/status.h"
#include "data/examples.h"
#include "training/newton_sums.h"

// What each patient by itself adds to a step of Newton's method, cut to a length that is known: for
// sums that noise is added to. No noise here: nothing of this may leave a site.
//
// A patient's rows are summed, never averaged. With the bounds C_g and C_h, the Hessian's share s,
// the patient's gradient g and the upper triangle H of its Hessian, row by row, whose entries off
// the diagonal are multiplied by sqrt(2) (so that the length of H is the Hessian's Frobenius norm),
//   vector = [ sqrt(1 - s) g min(1, C_g / |g|) / C_g,  sqrt(s) H min(1, C_h / |H|) / C_h ]
// is at most 1 long, up to the rounding of doubles: privacy::PatientSum makes that exact.
// Gradient and Hessian as in newton_sums.h.
namespace chorale::training {

struct NewtonBounds {
  double gradient = 0;       // C_g, above 0.
  double hessian = 0;        // C_h, above 0.
  double hessian_share = 0;  // s, in (0, 1).
};

// Values in a patient's vector, and in a sum of such.
[[nodiscard]] std::size_t NewtonVectorSize(std::size_t num_coefficients);

// Calls `on_patient` with each patient's vector [NewtonVectorSize], in the order of `patients`,
// which are the rows of each; it is valid during the call. What is not finite is passed on as it
// is: nobody may be told how often that happens. A patient's vector depends on its own rows and the
// coefficients alone, to the last bit. Time grows with num_examples * num_coefficients^2.
//
// INVALID_ARGUMENT: another kind than logistic or linear regression, sizes that do not fit, over
// kMaxNewtonCoefficients. Targets are not checked: what a target can do is bounded. CANCELLED:
// `cancelled`, which may be null, is looked at for every patient. REQUIRES: rows of the examples.
[[nodiscard]] Status ForEachNewtonPatient(
    NewtonKind kind, const data::ExactExamples& examples, std::span<const double> coefficients,
    const NewtonBounds& bounds, std::span<const std::vector<std::size_t>> patients,
    const std::function<void(std::span<const double>)>& on_patient,
    const std::atomic<bool>* cancelled = nullptr);

// What a sum of patients' vectors says.
struct NewtonEstimate {
  std::vector<double> gradient;  // [num_coefficients]
  std::vector<double> hessian;   // Upper triangle, row by row [p (p + 1) / 2].
};
// Undoes the scaling. REQUIRES: NewtonVectorSize values.
[[nodiscard]] NewtonEstimate NewtonEstimateOf(const NewtonBounds& bounds,
                                              std::span<const double> vector,
                                              std::size_t num_coefficients);

}  // namespace chorale::training
