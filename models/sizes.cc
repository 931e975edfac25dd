#include "models/sizes.h"

namespace chorale::models {

std::uint64_t NumNumbers(const Shape& shape) {
  std::uint64_t numbers = 1;
  for (const std::uint64_t size : shape) numbers = Product(numbers, size);
  return numbers;
}

std::string ShapeText(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace chorale::models
