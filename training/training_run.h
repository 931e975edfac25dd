#pragma once

#include <ATen/ATen.h>

#include "core/status.h"
#include "training/local_trainer.h"

namespace chorale::training {

// One call of LocalTrainer::Train on `device`. May throw what LibTorch and the allocator throw.
// REQUIRES: a request that CheckRequest passed.
[[nodiscard]] StatusOr<TrainResult> RunTraining(const TrainRequest& request,
                                                const at::Device& device, int threads);

// One call of LocalTrainer::TrainOnGradients.
[[nodiscard]] StatusOr<TrainResult> RunOnGradients(const TrainRequest& request,
                                                   const GradientSource& source,
                                                   const at::Device& device, int threads);

}  // namespace chorale::training
