#pragma once

#include <cstdint>

#include "core/parameters.h"

namespace chorale::training {

// Where a call of LocalTrainer::Train stands between two steps of its optimizer. Another call with
// the same request goes on from here, and ends with the same bytes as one that was not interrupted.
// It holds what was computed from rows: it stays at the site.
struct TrainCheckpoint {
  std::uint64_t num_batches = 0;    // Done. The order of those to come follows from the seed.
  std::uint64_t num_steps = 0;      // Done.
  double sum_of_rates = 0;          // Of those steps.
  ParameterVector parameters = {};  // [num_parameters]
  // Of the optimizer: [num_parameters], or empty where it keeps none.
  ParameterVector mean = {};
  ParameterVector variance = {};
};

}  // namespace chorale::training
