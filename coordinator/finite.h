#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/bytes.h"

namespace chorale::coordinator {

// True when no whole float32 (little-endian) in `bytes` is infinite or no number: all bits of its
// exponent set.
[[nodiscard]] inline bool AllFiniteFloats(ByteSpan bytes) {
  constexpr std::uint32_t kExponent = 0x7f800000;
  std::uint32_t found = 0;
  for (std::size_t i = 0; i + sizeof(float) <= bytes.size(); i += sizeof(float)) {
    std::uint32_t bits;
    std::memcpy(&bits, bytes.data() + i, sizeof(bits));
    found |= static_cast<std::uint32_t>((bits & kExponent) == kExponent);
  }
  return found == 0;
}

}  // namespace chorale::coordinator
