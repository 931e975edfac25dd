#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "core/status.h"

// Weights on disk in the safetensors format, float32 or (what Newton's method found) float64,
// readable by the Python package of that name:
//
//   file     := length header data
//   length   := uint64, little-endian: bytes of header
//   header   := JSON object {NAME: {"dtype": "F32" or "F64", "shape": [...], "data_offsets":
//               [begin, end]}, ...}, spaces after it;
//               the name "__metadata__" holds an object of strings instead
//   data     := little-endian numbers, tensor after tensor; offsets count from its first byte
//
// Written here in layout order. Read in the order of the data, whatever the order of the header.
namespace chorale::models {

enum class NumberType { kFloat32, kFloat64 };  // Of all tensors of a file.

template <typename Number>
struct SafetensorsOf {
  ParameterLayout layout;      // In order of the data.
  std::vector<Number> values;  // [layout.num_parameters()]
  std::map<std::string, std::string> metadata;
};
using SafetensorsContent = SafetensorsOf<float>;
using ExactSafetensorsContent = SafetensorsOf<double>;

// The header that stands before `layout`'s flat data, length prefix included, padded with spaces to
// a multiple of 8. Bytes of `metadata` that are not UTF-8 become U+FFFD. REQUIRES: no tensor is
// named "__metadata__".
[[nodiscard]] std::string SafetensorsHeader(const ParameterLayout& layout,
                                            const std::map<std::string, std::string>& metadata,
                                            NumberType type = NumberType::kFloat32);

// Written atomically, readable by everyone. INVALID_ARGUMENT: `values` has another size than the
// layout, or a tensor is named "__metadata__". Else as storage::WriteFileAtomically.
[[nodiscard]] Status SaveSafetensors(const std::filesystem::path& path,
                                     const ParameterLayout& layout, std::span<const float> values,
                                     const std::map<std::string, std::string>& metadata);

// INVALID_ARGUMENT for anything but a sound file: header over 100 MB or beyond the file, malformed
// JSON, repeated names, unknown keys, a dtype other than F32, a layout that ParameterLayout::Create
// refuses, offsets that overlap, leave gaps, overflow or disagree with the shape. Values may be NaN
// or infinite: see AllFinite. Memory: a small multiple of the file. Exact: of F64 instead.
[[nodiscard]] StatusOr<SafetensorsContent> ParseSafetensors(std::span<const std::uint8_t> file);
[[nodiscard]] StatusOr<ExactSafetensorsContent> ParseExactSafetensors(
    std::span<const std::uint8_t> file);
// Also the errors of storage::ReadFile. Messages begin with the path.
[[nodiscard]] StatusOr<SafetensorsContent> LoadSafetensors(const std::filesystem::path& path,
                                                           std::uint64_t max_bytes);
[[nodiscard]] StatusOr<ExactSafetensorsContent> LoadExactSafetensors(
    const std::filesystem::path& path, std::uint64_t max_bytes);

}  // namespace chorale::models
