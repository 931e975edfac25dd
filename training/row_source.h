#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>

#include "data/examples.h"

namespace chorale::training {

// Examples as tensors on a device, a piece at a time. On the CPU rows that lie together are views,
// and others are gathered into a buffer that its caller keeps; on CUDA examples of up to 2 GiB are
// copied to the device once, and larger ones piece by piece through pinned memory, while the device
// computes. Safe for concurrent use by threads with buffers of their own.
class RowSource {
 public:
  // The examples must outlive the source.
  RowSource(const data::Examples& examples, const at::Device& device);

  struct Rows {
    at::Tensor inputs;   // [size, num_inputs]
    at::Tensor targets;  // [size, num_targets]
  };
  // Rows [first, first + size).
  [[nodiscard]] Rows Range(std::int64_t first, std::int64_t size) const;
  // These rows, in this order. Valid until the next call with this buffer.
  [[nodiscard]] Rows Gather(std::span<const std::int64_t> rows, Rows& buffer) const;

 private:
  [[nodiscard]] at::Tensor ToDevice(const at::Tensor& host) const;

  at::Device device_;
  bool is_on_device_ = false;
  at::Tensor inputs_;   // [num_examples, num_inputs]
  at::Tensor targets_;  // [num_examples, num_targets]
};

}  // namespace chorale::training
