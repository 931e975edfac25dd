#pragma once

#include <ATen/ATen.h>

#include <span>

namespace chorale::training {

// Of numbers that outlive it and are only read: LibTorch has no view of const memory.
[[nodiscard]] inline at::Tensor FlatView(std::span<const float> values) {
  return at::from_blob(const_cast<float*>(values.data()),
                       {static_cast<std::int64_t>(values.size())}, at::kFloat);
}

}  // namespace chorale::training
