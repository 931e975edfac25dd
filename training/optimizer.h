#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "chorale/v1/jobs.pb.h"

namespace chorale::training {

// Turns gradients into steps, on flat vectors, in one pass over blocks that stay in cache. Blocks
// are cut at fixed places, so that the number of threads changes no bit. Not thread-safe.
//
// A step: the gradient of the data is scaled down to max_gradient_norm; then the gradients of the
// penalties join it: l2_penalty * w, as weight_decay in PyTorch, FedProx' mu (w - start) (Li et al.
// 2020), and SCAFFOLD's correction c - c_i (Karimireddy et al. 2020); then SGD with momentum and
// Nesterov, Adam (Kingma and Ba 2015, algorithm 1) or AdamW (Loshchilov and Hutter 2019, algorithm
// 2) as PyTorch defines them.
class Optimizer {
 public:
  // Numbers of the flat vector that are trained: [first, first + size).
  struct Range {
    std::int64_t first = 0;
    std::int64_t size = 0;
  };
  struct Setup {
    const v1::TrainingSpec& training;
    std::vector<Range> trainable;  // Ascending, apart. The rest is never touched.
    at::Tensor parameters;         // Changed by Step. [num_parameters]
    at::Tensor start;              // FedProx; else undefined.
    at::Tensor correction;         // SCAFFOLD: c - c_i, undefined for zeros.
    int threads = 1;
  };
  explicit Optimizer(Setup setup);

  // One step at rate_factor times the learning rate. `gradient` [num_parameters] is overwritten.
  void Step(const at::Tensor& gradient, double rate_factor);

  // The learning rates of all steps so far, added up.
  [[nodiscard]] double sum_of_rates() const { return sum_of_rates_; }

  // What steps leave behind beside the parameters: [num_parameters], undefined where nothing is
  // kept.
  [[nodiscard]] const at::Tensor& mean() const { return mean_; }
  [[nodiscard]] const at::Tensor& variance() const { return variance_; }
  // As if so many steps had left this. REQUIRES: tensors like mean() and variance().
  void Resume(const at::Tensor& mean, const at::Tensor& variance, int num_steps,
              double sum_of_rates);

 private:
  // One block of every flat vector; undefined where there is no such vector.
  struct Block {
    at::Tensor parameters, gradient, start, correction, mean, variance;
  };
  template <typename Pass>
  void ForBlocks(const Pass& pass) const;  // pass(index, range)
  [[nodiscard]] Block Cut(const Range& range, const at::Tensor& gradient) const;
  [[nodiscard]] double ClipFactor(const at::Tensor& gradient) const;
  void Update(const Block& block, double rate) const;
  void Descend(const Block& block, double rate) const;
  void AdamUpdate(const Block& block, double rate) const;

  v1::TrainingSpec training_;
  std::vector<Range> blocks_;
  at::Tensor parameters_, start_, correction_, mean_, variance_;
  int threads_;
  int step_ = 0;
  double sum_of_rates_ = 0;
};

}  // namespace chorale::training
