#include "coordinator/aggregation/compensated_sums.h"

#include <cmath>
#include <cstdint>
#include <span>
#include <string>

namespace chorale::coordinator {
namespace {

Status Read(const PayloadStore& payloads, const Contribution& contribution,
            std::vector<double>& values) {
  const std::uint64_t size_bytes = values.size() * sizeof(double);
  if (contribution.payload.size_bytes != size_bytes) {
    return InvalidArgument("they have " + std::to_string(contribution.payload.size_bytes) +
                           " bytes, not " + std::to_string(size_bytes));
  }
  CHORALE_ASSIGN_OR_RETURN(const PayloadReader reader, payloads.Find(contribution.payload));
  return reader.ReadAt(0, {reinterpret_cast<std::uint8_t*>(values.data()), size_bytes});
}

}  // namespace

StatusOr<std::vector<double>> AddPayloads(const PayloadStore& payloads,
                                          const std::vector<Contribution>& contributions,
                                          std::size_t num_sums, std::string_view what) {
  if (contributions.empty()) return InvalidArgument("there are no sums to add");
  std::vector<double> sums(num_sums);
  std::vector<double> compensations(num_sums);
  std::vector<double> values(num_sums);
  for (const Contribution& contribution : contributions) {
    CHORALE_RETURN_IF_ERROR(Annotate(Read(payloads, contribution, values),
                                     std::string(what) + " of site " + contribution.site.value()));
    for (std::size_t i = 0; i < num_sums; ++i) {
      const double sum = sums[i] + values[i];
      compensations[i] += std::abs(sums[i]) >= std::abs(values[i]) ? (sums[i] - sum) + values[i]
                                                                   : (values[i] - sum) + sums[i];
      sums[i] = sum;
    }
  }
  for (std::size_t i = 0; i < num_sums; ++i) {
    // A sum beyond double has no meaningful compensation.
    if (std::isfinite(sums[i])) sums[i] += compensations[i];
  }
  return sums;
}

}  // namespace chorale::coordinator
