#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace chorale::crypto {

// Overwrites memory in a way the compiler keeps.
void Wipe(std::span<std::uint8_t> bytes);

// Equality in time that depends on the lengths alone.
[[nodiscard]] bool ConstantTimeEqual(std::span<const std::uint8_t> a,
                                     std::span<const std::uint8_t> b);

// Key material: wiped on destruction, moved but never copied, never printed.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::span<const std::uint8_t> bytes) : bytes_(bytes.begin(), bytes.end()) {}
  // Zeroes, to be filled through MutableReveal().
  explicit SecretBytes(std::size_t size) : bytes_(size) {}
  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
      Wipe(bytes_);
      bytes_ = std::exchange(other.bytes_, {});
    }
    return *this;
  }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { Wipe(bytes_); }

  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  // Grep for these two.
  [[nodiscard]] std::span<const std::uint8_t> Reveal() const { return bytes_; }
  [[nodiscard]] std::span<std::uint8_t> MutableReveal() { return bytes_; }

 private:
  std::vector<std::uint8_t> bytes_;
};

}  // namespace chorale::crypto
