#pragma once

#include <ATen/ATen.h>

#include "core/status.h"
#include "training/clipped_sum.h"

namespace chorale::training {

// One call of LocalTrainer::SumClippedGradients on `device`. May throw what LibTorch and the
// allocator throw. REQUIRES: a request that CheckRequest passed.
[[nodiscard]] StatusOr<ClippedSum> RunClippedSum(const ClippedSumRequest& request,
                                                 const at::Device& device, int threads);

}  // namespace chorale::training
