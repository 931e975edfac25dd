#pragma once

#include <cstdint>
#include <span>

#include "core/status.h"
#include "data/examples.h"
#include "training/newton_sums.h"

// Rows of generalised linear models. Internal: shared by newton_sums.cc and newton_patients.cc.
namespace chorale::training {

// What one row adds: its loss, and the loss's derivatives by eta.
struct NewtonTerm {
  double loss;
  double residual;
  double weight;
};
// REQUIRES: no Cox model.
[[nodiscard]] NewtonTerm NewtonTermOf(NewtonKind kind, double eta, double y);

// INVALID_ARGUMENT: inputs, targets and coefficients that do not fit one another.
[[nodiscard]] Status CheckNewtonSizes(NewtonKind kind, const data::ExactExamples& examples,
                                      std::span<const double> coefficients);

}  // namespace chorale::training
