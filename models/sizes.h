#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "models/graph.h"

// Arithmetic on what a graph claims: a result that does not fit is the largest number, so that it
// stays above every limit it is compared with.
namespace chorale::models {

inline constexpr std::uint64_t kUncountable = std::numeric_limits<std::uint64_t>::max();

[[nodiscard]] constexpr std::uint64_t Sum(std::uint64_t a) { return a; }
template <typename... More>
[[nodiscard]] constexpr std::uint64_t Sum(std::uint64_t a, std::uint64_t b, More... more) {
  return Sum(a > kUncountable - b ? kUncountable : a + b, more...);
}

[[nodiscard]] constexpr std::uint64_t Product(std::uint64_t a) { return a; }
template <typename... More>
[[nodiscard]] constexpr std::uint64_t Product(std::uint64_t a, std::uint64_t b, More... more) {
  return Product(b != 0 && a > kUncountable / b ? kUncountable : a * b, more...);
}

// Numbers of a value of this shape.
[[nodiscard]] std::uint64_t NumNumbers(const Shape& shape);

// "[16, 28, 28]"
[[nodiscard]] std::string ShapeText(const Shape& shape);

}  // namespace chorale::models
