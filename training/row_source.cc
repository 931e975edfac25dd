#include "training/row_source.h"

#include <cstring>

namespace chorale::training {
namespace {

using at::Tensor;

constexpr std::size_t kMaxResidentBytes = std::size_t{1} << 31;

Tensor View(const std::vector<float>& values, std::size_t rows, std::size_t columns) {
  // LibTorch has no view of const memory; the view is only read.
  return at::from_blob(const_cast<float*>(values.data()),
                       {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)},
                       at::kFloat);
}

// The first `rows` rows of `buffer`, which grows to hold them. Shaped as rows of `like`.
Tensor Room(Tensor& buffer, std::int64_t rows, const Tensor& like) {
  if (!buffer.defined() || buffer.size(0) < rows) {
    buffer = at::empty({rows, like.size(1)}, at::kFloat);
  }
  return buffer.narrow(0, 0, rows);
}

void CopyRows(const Tensor& from, std::span<const std::int64_t> rows, const Tensor& to) {
  const auto width = static_cast<std::size_t>(from.size(1));
  const float* source = from.data_ptr<float>();
  float* target = to.data_ptr<float>();
  for (const std::int64_t row : rows) {
    std::memcpy(target, source + static_cast<std::size_t>(row) * width, width * sizeof(float));
    target += width;
  }
}

}  // namespace

RowSource::RowSource(const data::Examples& examples, const at::Device& device)
    : device_(device),
      inputs_(View(examples.inputs, examples.size(), examples.num_inputs)),
      targets_(View(examples.targets, examples.size(), examples.num_targets)) {
  const std::size_t bytes = (examples.inputs.size() + examples.targets.size()) * sizeof(float);
  if (device.is_cpu() || bytes > kMaxResidentBytes) return;
  inputs_ = inputs_.to(device);
  targets_ = targets_.to(device);
  is_on_device_ = true;
}

// The caching allocator of pinned memory hands a block out again only after the device has read it.
Tensor RowSource::ToDevice(const Tensor& host) const {
  return host.to(device_, /*non_blocking=*/true);
}

RowSource::Rows RowSource::Range(std::int64_t first, std::int64_t size) const {
  const Tensor inputs = inputs_.narrow(0, first, size);
  const Tensor targets = targets_.narrow(0, first, size);
  if (device_.is_cpu() || is_on_device_) return {inputs, targets};
  return {ToDevice(inputs.pin_memory()), ToDevice(targets.pin_memory())};
}

RowSource::Rows RowSource::Gather(std::span<const std::int64_t> rows, Rows& buffer) const {
  const auto size = static_cast<std::int64_t>(rows.size());
  if (is_on_device_) {
    const Tensor chosen = at::empty({size}, at::TensorOptions(at::kLong).pinned_memory(true));
    std::memcpy(chosen.data_ptr<std::int64_t>(), rows.data(), rows.size_bytes());
    const Tensor index = ToDevice(chosen);
    return {inputs_.index_select(0, index), targets_.index_select(0, index)};
  }
  if (device_.is_cpu()) {
    const Rows taken{Room(buffer.inputs, size, inputs_), Room(buffer.targets, size, targets_)};
    CopyRows(inputs_, rows, taken.inputs);
    CopyRows(targets_, rows, taken.targets);
    return taken;
  }
  const auto pinned = at::TensorOptions(at::kFloat).pinned_memory(true);
  const Tensor inputs = at::empty({size, inputs_.size(1)}, pinned);
  const Tensor targets = at::empty({size, targets_.size(1)}, pinned);
  CopyRows(inputs_, rows, inputs);
  CopyRows(targets_, rows, targets);
  return {ToDevice(inputs), ToDevice(targets)};
}

}  // namespace chorale::training
