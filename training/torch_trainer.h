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

// The trainer on LibTorch: float32, SGD with momentum and Adam as PyTorch defines them (Adam: betas
// 0.9 and 0.999, epsilon 1e-8), gradients of the zoo's models written out (no autograd). Optimizer
// state lasts for one Train() call.
//
// On the CPU the same request gives the same bytes for any number of threads: every product and
// every element-wise pass is cut into blocks of fixed size, and a block is computed by one thread.
// To keep that promise LibTorch's own threads and those of OpenBLAS are set to one, for the whole
// process; the trainer brings its own. Bytes may differ between machines with other instruction
// sets or another BLAS. On CUDA no such promise is made.
//
// FAILED_PRECONDITION: CUDA was asked for and is not there. INVALID_ARGUMENT: an unknown device, a
// thread count out of bounds.
[[nodiscard]] StatusOr<std::unique_ptr<LocalTrainer>> MakeTorchTrainer(
    const DeviceOptions& options);

}  // namespace chorale::training
