#pragma once

#include <memory>
#include <string>

#include "core/status.h"
#include "training/local_trainer.h"

namespace chorale::training {

struct DeviceOptions {
  std::string device = "auto";  // auto (CUDA where there is one), cpu, cuda, cuda:N
  int threads = 1;              // For CPU work; in [1, 1024].
};

// The trainer on LibTorch: any plan, float32, gradients by autograd; the optimizers of PyTorch
// (Adam and AdamW: betas 0.9 and 0.999, epsilon 1e-8). The loss of a batch is the mean over its
// rows. max_gradient_norm bounds the gradient of the data; penalties and control variates join it
// afterwards (optimizer.h). Optimizer state lasts for one Train() call. Memory is that of
// EstimateMemory; the examples are read where they lie.
//
// On the CPU the same request gives the same bytes for any number of threads: batches are cut into
// pieces at places that depend on model and batch alone, one thread computes a piece, and their
// gradients are added up in order. To keep that promise LibTorch's own threads and those of
// OpenBLAS are set to one, for the whole process; the trainer brings its own. A model that couples
// examples (batch norm, Cox) is not cut, and hence trained by one thread. Bytes may differ between
// machines with other instruction sets or another BLAS. On CUDA no such promise is made.
//
// FAILED_PRECONDITION: CUDA was asked for and is not there. INVALID_ARGUMENT: an unknown device, a
// thread count out of bounds.
[[nodiscard]] StatusOr<std::unique_ptr<LocalTrainer>> MakeTorchTrainer(
    const DeviceOptions& options);

}  // namespace chorale::training
