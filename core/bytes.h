#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace chorale {

using Bytes = std::vector<std::uint8_t>;
using ByteSpan = std::span<const std::uint8_t>;

[[nodiscard]] inline ByteSpan AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
[[nodiscard]] inline std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] inline std::string ToString(ByteSpan bytes) { return std::string(AsText(bytes)); }

// Lower-case hexadecimal.
[[nodiscard]] std::string ToHex(ByteSpan bytes);
// INVALID_ARGUMENT for an odd length or a character outside [0-9a-fA-F].
[[nodiscard]] StatusOr<Bytes> FromHex(std::string_view text);

// Base64url without padding (RFC 4648, section 5).
[[nodiscard]] std::string ToBase64Url(ByteSpan bytes);
// INVALID_ARGUMENT for a character outside the alphabet, a wrong length or non-zero trailing bits.
[[nodiscard]] StatusOr<Bytes> FromBase64Url(std::string_view text);

}  // namespace chorale
