#include "coordinator/aggregation/newton_sums.h"

#include <string>

#include "coordinator/aggregation/compensated_sums.h"
#include "core/parameters.h"

namespace chorale::coordinator {
namespace {

// Loss, rows, gradient, upper triangle of the Hessian.
std::size_t NumSums(std::size_t num_coefficients) {
  return 2 + num_coefficients + num_coefficients * (num_coefficients + 1) / 2;
}

}  // namespace

std::uint64_t NewtonPayloadBytes(std::size_t num_coefficients) {
  return NumSums(num_coefficients) * sizeof(double);
}

Status CheckNewtonSums(ByteSpan payload, std::size_t num_coefficients, std::uint64_t num_examples) {
  const std::uint64_t size_bytes = NewtonPayloadBytes(num_coefficients);
  if (payload.size() != size_bytes) {
    return InvalidArgument("the Newton sums must have " + std::to_string(size_bytes) +
                           " bytes, got " + std::to_string(payload.size()));
  }
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> sums, DoublesFromBytes(payload));
  if (!AllFinite(std::span<const double>(sums))) {
    return InvalidArgument("the Newton sums must be finite");
  }
  if (sums[1] != static_cast<double>(num_examples)) {
    return InvalidArgument("the rows of the Newton sums must be num_examples");
  }
  std::size_t diagonal = 2 + num_coefficients;
  for (std::size_t i = 0; i < num_coefficients; ++i) {
    if (sums[diagonal] < 0) {
      return InvalidArgument("the diagonal of the Hessian must not be negative");
    }
    diagonal += num_coefficients - i;
  }
  return OkStatus();
}

StatusOr<std::vector<double>> SumNewton(const PayloadStore& payloads,
                                        const std::vector<Contribution>& contributions,
                                        std::size_t num_coefficients) {
  return AddPayloads(payloads, contributions, NumSums(num_coefficients), "the Newton sums");
}

}  // namespace chorale::coordinator
