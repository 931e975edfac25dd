#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

// The two encodings in which hospital exports come.
namespace chorale::data {

// Offset of the first byte that is not part of well-formed UTF-8 (RFC 3629), or nothing. Fast on
// ASCII.
[[nodiscard]] std::optional<std::size_t> FindInvalidUtf8(std::string_view text);

// Offset of the first byte that Windows-1252 does not define (81, 8D, 8F, 90, 9D), or nothing.
[[nodiscard]] std::optional<std::size_t> FindInvalidWindows1252(std::string_view text);

// Windows-1252, the superset of Latin-1 that programs write under that name, as UTF-8.
// REQUIRES: !FindInvalidWindows1252(text).
[[nodiscard]] std::string Windows1252ToUtf8(std::string_view text);

}  // namespace chorale::data
