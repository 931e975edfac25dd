#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "core/bytes.h"

// Hexadecimal as vectors are printed.
namespace chorale::crypto {

inline Bytes Hex(std::string_view text) {
  StatusOr<Bytes> bytes = FromHex(text);
  EXPECT_TRUE(bytes.ok()) << text;
  return bytes.ok() ? *std::move(bytes) : Bytes();
}

template <std::size_t kSize>
std::array<std::uint8_t, kSize> HexArray(std::string_view text) {
  const Bytes bytes = Hex(text);
  EXPECT_EQ(bytes.size(), kSize) << text;
  std::array<std::uint8_t, kSize> array{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), kSize), array.begin());
  return array;
}

// `first`, `first` + 1, … [size]
inline Bytes Counting(std::uint8_t first, std::size_t size) {
  Bytes bytes(size);
  for (std::uint8_t& byte : bytes) byte = first++;
  return bytes;
}

}  // namespace chorale::crypto
