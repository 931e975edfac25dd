#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "coordinator/aggregation/server_rule.h"
#include "coordinator/payload_store.h"
#include "core/bytes.h"
#include "core/status.h"

// What a round of Newton's method adds up: loss, rows, gradient and Hessian of every site.
namespace chorale::coordinator {

// Bytes of a site's payload: little-endian float64 in the order of training/newton_sums.h.
[[nodiscard]] std::uint64_t NewtonPayloadBytes(std::size_t num_coefficients);

// INVALID_ARGUMENT unless `payload` could be the sums of `num_examples` rows: its size, numbers
// that are finite, that many rows, a Hessian without a negative diagonal. That the numbers are true
// cannot be told from them.
[[nodiscard]] Status CheckNewtonSums(ByteSpan payload, std::size_t num_coefficients,
                                     std::uint64_t num_examples);

// Adds the sites' sums, in site order, each as exact as one rounding; then StepNewton can take
// them. INVALID_ARGUMENT: no contributions, a payload of another size. DATA_LOSS: the disk.
[[nodiscard]] StatusOr<std::vector<double>> SumNewton(
    const PayloadStore& payloads, const std::vector<Contribution>& contributions,
    std::size_t num_coefficients);

}  // namespace chorale::coordinator
