#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace chorale {

// One named tensor in a flat vector of parameters.
struct TensorLayout {
  std::string name;
  std::vector<std::uint64_t> shape;  // Row-major; empty for a scalar.
  std::uint64_t offset = 0;          // Of the first element, in elements.
  std::uint64_t size = 0;            // Number of elements.
  friend bool operator==(const TensorLayout&, const TensorLayout&) = default;
};

// Name, shape and place of every tensor. Immutable; copies are cheap enough to pass by value.
class ParameterLayout {
 public:
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> shape;
  };

  ParameterLayout() = default;

  // Lays the tensors one after another. INVALID_ARGUMENT: a name that is empty, repeated, over 256
  // characters or outside [A-Za-z0-9_.-]; a dimension of zero; over 8 dimensions; over 65536
  // tensors; a size beyond 2^40.
  static StatusOr<ParameterLayout> Create(std::vector<Tensor> tensors);

  [[nodiscard]] const std::vector<TensorLayout>& tensors() const { return tensors_; }
  [[nodiscard]] std::uint64_t num_parameters() const { return num_parameters_; }
  [[nodiscard]] std::uint64_t size_bytes() const { return num_parameters_ * sizeof(float); }
  friend bool operator==(const ParameterLayout&, const ParameterLayout&) = default;

 private:
  std::vector<TensorLayout> tensors_;
  std::uint64_t num_parameters_ = 0;
};

// All trainable values of a model, flat. [num_parameters]
using ParameterVector = std::vector<float>;

// Little-endian float32, as weights travel and are stored. The host is little-endian (checked at
// compile time).
[[nodiscard]] std::span<const std::uint8_t> AsBytes(std::span<const float> values);
[[nodiscard]] std::span<const std::uint8_t> AsBytes(std::span<const double> values);
// INVALID_ARGUMENT unless the size is a multiple of the element's.
[[nodiscard]] StatusOr<ParameterVector> ParametersFromBytes(std::span<const std::uint8_t> bytes);
[[nodiscard]] StatusOr<std::vector<double>> DoublesFromBytes(std::span<const std::uint8_t> bytes);

// True when no value is NaN or infinite.
[[nodiscard]] bool AllFinite(std::span<const float> values);
[[nodiscard]] bool AllFinite(std::span<const double> values);

}  // namespace chorale
