#include "training/tensor_squares.h"

#include "training/clipping.h"

namespace chorale::training {

at::Tensor SquareOf(const at::Tensor& tensor) {
  if (!tensor.is_cpu()) return tensor.to(at::kDouble).square().sum();
  const at::Tensor dense = tensor.is_non_overlapping_and_dense() ? tensor : tensor.contiguous();
  const auto size = static_cast<std::size_t>(dense.numel());
  const double square = dense.scalar_type() == at::kDouble
                            ? SumOfSquares(std::span<const double>(dense.data_ptr<double>(), size))
                            : SumOfSquares(std::span<const float>(dense.data_ptr<float>(), size));
  return at::scalar_tensor(square, at::kDouble);
}

}  // namespace chorale::training
