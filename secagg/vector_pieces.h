#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/status.h"
#include "secagg/vector_spec.h"

// Private to this folder: a vector cut into pieces that fit the second-level cache.
namespace chorale::secagg {

// Runs of elements, one behind the other.
using Piece = std::vector<VectorSpec::Run>;

// `size` bytes of the vector from `offset` on, in pieces of at most `most_bytes`. INVALID_ARGUMENT
// as VectorSpec::RunsOf. REQUIRES: most_bytes is a multiple of 48.
[[nodiscard]] StatusOr<std::vector<Piece>> CutIntoPieces(const VectorSpec& spec,
                                                         std::uint64_t offset, std::uint64_t size,
                                                         std::uint64_t most_bytes);

}  // namespace chorale::secagg
