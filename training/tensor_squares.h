#pragma once

#include <ATen/ATen.h>

namespace chorale::training {

// The sum of squares of all numbers, as SumOfSquares of clipping.h. Scalar, float64, on the device.
[[nodiscard]] at::Tensor SquareOf(const at::Tensor& tensor);

}  // namespace chorale::training
