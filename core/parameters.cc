#include "core/parameters.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

namespace chorale {
namespace {

static_assert(std::endian::native == std::endian::little, "weights travel as the host's bytes");
static_assert(sizeof(float) == 4 && sizeof(double) == 8);

constexpr std::size_t kMaxTensors = 65536;
constexpr std::size_t kMaxNameCharacters = 256;
constexpr std::size_t kMaxDimensions = 8;
constexpr std::uint64_t kMaxParameters = std::uint64_t{1} << 40;

bool IsTensorNameCharacter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

Status ValidateTensorName(std::string_view name, const std::string& where) {
  if (name.empty() || name.size() > kMaxNameCharacters) {
    return InvalidArgument(where + ": the name must have 1 to 256 characters, got " +
                           std::to_string(name.size()));
  }
  if (!std::all_of(name.begin(), name.end(), IsTensorNameCharacter)) {
    return InvalidArgument(where + ": the name must hold only [A-Za-z0-9_.-]");
  }
  return OkStatus();
}

// The number of elements of a tensor, at most `limit`.
StatusOr<std::uint64_t> SizeOf(const std::vector<std::uint64_t>& shape, std::uint64_t limit,
                               const std::string& where) {
  if (shape.size() > kMaxDimensions) {
    return InvalidArgument(where + ": at most 8 dimensions, got " + std::to_string(shape.size()));
  }
  std::uint64_t size = 1;
  for (const std::uint64_t dimension : shape) {
    if (dimension == 0) return InvalidArgument(where + ": a dimension must be at least 1, got 0");
    // Divided and not multiplied: the product of two hostile dimensions may not fit.
    if (dimension > limit / size) {
      return InvalidArgument(where + ": the model would have over 2^40 parameters");
    }
    size *= dimension;
  }
  if (size > limit) return InvalidArgument(where + ": the model would have over 2^40 parameters");
  return size;
}

template <typename T>
std::span<const std::uint8_t> ViewAsBytes(std::span<const T> values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()};
}

template <typename T>
StatusOr<std::vector<T>> CopyFromBytes(std::span<const std::uint8_t> bytes) {
  if (bytes.size() % sizeof(T) != 0) {
    return InvalidArgument("values of " + std::to_string(sizeof(T)) + " bytes cannot fill " +
                           std::to_string(bytes.size()) + " bytes");
  }
  std::vector<T> values(bytes.size() / sizeof(T));
  // The bytes of a message need not be aligned for T.
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

template <typename T>
bool AreAllFinite(std::span<const T> values) {
  return std::all_of(values.begin(), values.end(), [](T value) { return std::isfinite(value); });
}

}  // namespace

StatusOr<ParameterLayout> ParameterLayout::Create(std::vector<Tensor> tensors) {
  if (tensors.size() > kMaxTensors) {
    return InvalidArgument("a layout must have at most 65536 tensors, got " +
                           std::to_string(tensors.size()));
  }
  ParameterLayout layout;
  layout.tensors_.reserve(tensors.size());
  std::set<std::string_view> names;  // Not hashed: names that share a hash cost their square.
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::string where = "tensors[" + std::to_string(i) + "]";
    CHORALE_RETURN_IF_ERROR(ValidateTensorName(tensors[i].name, where));
    if (!names.insert(tensors[i].name).second) {
      return InvalidArgument(where + ": the name \"" + tensors[i].name + "\" occurs twice");
    }
    CHORALE_ASSIGN_OR_RETURN(
        const std::uint64_t size,
        SizeOf(tensors[i].shape, kMaxParameters - layout.num_parameters_, where));
    layout.tensors_.push_back({.name = tensors[i].name,
                               .shape = std::move(tensors[i].shape),
                               .offset = layout.num_parameters_,
                               .size = size});
    layout.num_parameters_ += size;
  }
  return layout;
}

std::span<const std::uint8_t> AsBytes(std::span<const float> values) { return ViewAsBytes(values); }

std::span<const std::uint8_t> AsBytes(std::span<const double> values) {
  return ViewAsBytes(values);
}

StatusOr<ParameterVector> ParametersFromBytes(std::span<const std::uint8_t> bytes) {
  return CopyFromBytes<float>(bytes);
}

StatusOr<std::vector<double>> DoublesFromBytes(std::span<const std::uint8_t> bytes) {
  return CopyFromBytes<double>(bytes);
}

bool AllFinite(std::span<const float> values) { return AreAllFinite(values); }

bool AllFinite(std::span<const double> values) { return AreAllFinite(values); }

}  // namespace chorale
