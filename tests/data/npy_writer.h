#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

// NumPy files as numpy.save writes them.
namespace chorale::data {

// Magic, version and header, blanks up to a multiple of 64 bytes.
inline std::string NpyStart(const std::string& dictionary, int major = 1) {
  std::string text = dictionary;
  const std::size_t fixed = major == 1 ? 10 : 12;
  text += std::string(63 - (fixed + text.size()) % 64, ' ') + "\n";
  std::string start = "\x93NUMPY";
  start += static_cast<char>(major);
  start += '\0';
  for (std::size_t i = 0; i < fixed - 8; ++i) {
    start += static_cast<char>(static_cast<std::uint8_t>(text.size() >> (8 * i)));
  }
  return start + text;
}

inline std::string NpyDictionary(std::string_view type, const std::vector<std::uint64_t>& shape) {
  std::string text = "{'descr': '" + std::string(type) + "', 'fortran_order': False, 'shape': (";
  for (const std::uint64_t size : shape) text += std::to_string(size) + ",";
  return text + "), }";
}

// Number is std::uint8_t or float.
template <typename Number>
std::string NpyBytes(const std::vector<std::uint64_t>& shape, const std::vector<Number>& numbers,
                     int major = 1) {
  const char* type = std::is_same_v<Number, float> ? "<f4" : "|u1";
  return NpyStart(NpyDictionary(type, shape), major) +
         std::string(reinterpret_cast<const char*>(numbers.data()),
                     numbers.size() * sizeof(Number));
}

template <typename Number>
void WriteNpy(const std::filesystem::path& path, const std::vector<std::uint64_t>& shape,
              const std::vector<Number>& numbers) {
  const std::string bytes = NpyBytes(shape, numbers);
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace chorale::data
