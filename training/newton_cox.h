#pragma once

#include "data/examples.h"
#include "training/newton_accumulator.h"

namespace chorale::training {

// Adds what the rows of one stratum say of a Cox regression (newton_sums.h): ties after Efron
// (1977) or Breslow (1974). One pass over the risk sets: O(n p^2), sorting apart. REQUIRES: two
// targets, times that are at least 0, events that are 0 or 1.
void AddCoxStratum(const data::ExactExamples& examples, const Eigen::VectorXd& coefficients,
                   bool is_efron, NewtonAccumulator& sums);

}  // namespace chorale::training
