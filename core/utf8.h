#pragma once

#include <cstddef>
#include <string_view>

namespace chorale {

struct CodePoint {
  char32_t value = 0;
  std::size_t size_bytes = 1;
  bool is_valid = false;  // False: one byte that begins no well-formed sequence.
};

// The first code point of `text`. Overlong forms, surrogates and values above U+10FFFF are not
// well-formed (RFC 3629). REQUIRES: text is not empty.
[[nodiscard]] CodePoint DecodeUtf8(std::string_view text);

[[nodiscard]] bool IsValidUtf8(std::string_view text);

// True for characters that drive a terminal, end a line or make it read as other than it is: C0 and
// C1 controls, DEL, line and paragraph separators, marks and overrides of writing direction, the
// byte order mark.
[[nodiscard]] bool IsUnsafeToShow(char32_t c);

}  // namespace chorale
