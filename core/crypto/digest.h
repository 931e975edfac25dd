#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/status.h"

namespace chorale::crypto {

inline constexpr std::size_t kDigestBytes = 32;
using Digest = std::array<std::uint8_t, kDigestBytes>;

// SHA-256 (FIPS 180-4).
[[nodiscard]] Digest Sha256(std::span<const std::uint8_t> bytes);

// HMAC-SHA256 (RFC 2104).
[[nodiscard]] Digest HmacSha256(std::span<const std::uint8_t> key,
                                std::span<const std::uint8_t> message);

// SHA-256 over pieces. Not thread-safe.
class Sha256Hasher {
 public:
  Sha256Hasher();
  ~Sha256Hasher();
  Sha256Hasher(Sha256Hasher&&) noexcept;
  Sha256Hasher& operator=(Sha256Hasher&&) noexcept;

  void Update(std::span<const std::uint8_t> bytes);
  // Finished once; the hasher is empty afterwards.
  [[nodiscard]] Digest Finish() &&;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// INVALID_ARGUMENT unless exactly 32 bytes.
[[nodiscard]] StatusOr<Digest> DigestFromBytes(std::span<const std::uint8_t> bytes);

}  // namespace chorale::crypto
