#include "coordinator/aggregation/control_variates.h"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace chorale::coordinator {

StatusOr<ServerRuleResult> ApplyScaffold(const RuleRun& run, const v1::FederatedAveraging& spec) {
  const std::size_t reports = run.request.contributions.size();
  if (run.request.cohort_size < reports) {
    return InvalidArgument("a cohort of " + std::to_string(run.request.cohort_size) +
                           " cannot have sent " + std::to_string(reports) + " reports");
  }
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> weights,
                           ContributionWeights(run.request.contributions, spec.weighting()));
  CHORALE_ASSIGN_OR_RETURN(HeldPayload model, AddUpdates(run, weights));

  Sections sections(run);
  CHORALE_RETURN_IF_ERROR(sections.AddState(0));
  std::vector<double> shares(sections.all().size(), 1.0);
  CHORALE_RETURN_IF_ERROR(sections.AddUpdates(run.request.model.size_bytes));
  shares.resize(sections.all().size(), 1.0 / static_cast<double>(run.request.cohort_size));
  CHORALE_ASSIGN_OR_RETURN(HeldPayload control_variate, SumSections(run, sections, shares));
  return ServerRuleResult{std::move(model), std::move(control_variate)};
}

}  // namespace chorale::coordinator
