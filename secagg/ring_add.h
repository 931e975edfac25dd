#pragma once

#include <cstddef>
#include <cstdint>

#include "secagg/vector_spec.h"

// Private to this folder: addition of packed ring elements, at the processor's full width.
namespace chorale::secagg {

// out[e] += addend[e], or -=, for the elements of `bits` that `size` bytes hold. Neither address
// needs an alignment. REQUIRES: size is a multiple of the element's; the two do not overlap.
void AddElements(RingBits bits, bool is_subtracted, const std::uint8_t* addend, std::uint8_t* out,
                 std::size_t size);

}  // namespace chorale::secagg
