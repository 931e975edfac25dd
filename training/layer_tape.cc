#include "training/layer_tape.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

namespace chorale::training {

using at::Tensor;

std::size_t LayerTape::Watch(const Tensor& output) {
  const std::size_t number = num_outputs_++;
  if (output.requires_grad()) {
    output.register_hook([this, number](const Tensor& gradient) { Tell(number, gradient); });
  } else {
    output.set_requires_grad(true);
    leaves_.push_back(output);
    numbers_.push_back(number);
  }
  return number;
}

void LayerTape::Backward(const Tensor& loss) {
  // The way to the leaves passes by every other output.
  std::vector<Tensor> gradients = torch::autograd::grad(
      {loss}, leaves_, /*grad_outputs=*/{}, /*retain_graph=*/c10::nullopt, /*create_graph=*/false,
      /*allow_unused=*/true);
  leaves_.clear();
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    Tell(numbers_[i], gradients[i]);
    gradients[i] = Tensor();
  }
}

void LayerTape::Tell(std::size_t output, const Tensor& gradient) {
  if (!gradient.defined()) return;
  const c10::NoGradGuard guard;
  for (LayerRecord& record : records_) {
    if (record.output == output) on_gradient_(std::move(record), gradient);
  }
}

}  // namespace chorale::training
