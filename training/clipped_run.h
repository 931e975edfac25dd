#pragma once

#include <ATen/ATen.h>

#include "core/status.h"
#include "training/clipped_sum.h"
#include "training/mode_choice.h"

namespace chorale::training {

// One call of LocalTrainer::SumClippedGradients on `device`. May throw what LibTorch and the
// allocator throw. REQUIRES: a request that CheckRequest passed.
[[nodiscard]] StatusOr<ClippedSum> RunClippedSum(const ClippedSumRequest& request,
                                                 const at::Device& device, int threads,
                                                 ModeChoice& choice);

}  // namespace chorale::training
