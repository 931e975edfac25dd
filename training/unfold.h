#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

// What each position of a convolution's output sees. No LibTorch here.
namespace chorale::training {

struct UnfoldShape {
  std::int64_t channels = 0, height = 0, width = 0;  // Of the image.
  std::int64_t kernel_height = 1, kernel_width = 1;
  std::int64_t stride_height = 1, stride_width = 1;
  std::int64_t padding_height = 0, padding_width = 0;
  std::int64_t dilation_height = 1, dilation_width = 1;
  std::int64_t out_height = 0, out_width = 0;

  [[nodiscard]] std::int64_t num_seen() const { return channels * kernel_height * kernel_width; }
};

// Copies windows position by position: a window's row lies together in the image and in the result,
// so that a stride costs nothing. Not thread-safe.
template <typename Number>
class Unfolder {
 public:
  explicit Unfolder(const UnfoldShape& shape)
      : shape_(shape),
        padded_height_(shape.height + 2 * shape.padding_height),
        padded_width_(shape.width + 2 * shape.padding_width),
        padded_(static_cast<std::size_t>(shape.channels * padded_height_ * padded_width_)) {}

  // The image that Unfold() reads. [channels, height, width], contiguous
  void Take(const Number* image) {
    for (std::int64_t channel = 0; channel < shape_.channels; ++channel) {
      for (std::int64_t row = 0; row < shape_.height; ++row, image += shape_.width) {
        std::copy_n(image, shape_.width,
                    padded_.data() +
                        (channel * padded_height_ + row + shape_.padding_height) * padded_width_ +
                        shape_.padding_width);
      }
    }
  }

  // Rows [first, end) of the output. to [(end - first) * out_width, channels * kernel]
  void Unfold(std::int64_t first, std::int64_t end, Number* to) const {
    if (shape_.dilation_width != 1) return Copy<0>(first, end, to);
    switch (shape_.kernel_width) {
      case 1:
        return Copy<1>(first, end, to);
      case 3:
        return Copy<3>(first, end, to);
      case 4:
        return Copy<4>(first, end, to);
      case 5:
        return Copy<5>(first, end, to);
      case 7:
        return Copy<7>(first, end, to);
      case 8:
        return Copy<8>(first, end, to);
      default:
        return Copy<0>(first, end, to);
    }
  }

 private:
  // kRun: numbers of a window's row, where they are known to the compiler and lie together.
  template <std::size_t kRun>
  void Copy(std::int64_t first, std::int64_t end, Number* to) const {
    for (std::int64_t y = first; y < end; ++y) {
      for (std::int64_t x = 0; x < shape_.out_width; ++x) {
        const Number* plane =
            padded_.data() + y * shape_.stride_height * padded_width_ + x * shape_.stride_width;
        for (std::int64_t channel = 0; channel < shape_.channels; ++channel) {
          const Number* row = plane;
          for (std::int64_t i = 0; i < shape_.kernel_height; ++i) {
            if constexpr (kRun > 0) {
              std::memcpy(to, row, kRun * sizeof(Number));
            } else {
              for (std::int64_t j = 0; j < shape_.kernel_width; ++j) {
                to[j] = row[j * shape_.dilation_width];
              }
            }
            to += shape_.kernel_width;
            row += shape_.dilation_height * padded_width_;
          }
          plane += padded_height_ * padded_width_;
        }
      }
    }
  }

  UnfoldShape shape_;
  std::int64_t padded_height_, padded_width_;
  std::vector<Number> padded_;  // Zeros around the image.
};

}  // namespace chorale::training
