#include "coordinator/aggregation/preparation_sums.h"

#include "coordinator/aggregation/compensated_sums.h"

namespace chorale::coordinator {

StatusOr<std::vector<double>> SumPreparation(const PayloadStore& payloads,
                                             const std::vector<Contribution>& contributions,
                                             std::size_t num_sums) {
  return AddPayloads(payloads, contributions, num_sums, "the preparation sums");
}

}  // namespace chorale::coordinator
