#include "coordinator/aggregation/server_rule.h"

#include <string>
#include <utility>
#include <vector>

#include "coordinator/aggregation/control_variates.h"
#include "coordinator/aggregation/multi_krum.h"
#include "coordinator/aggregation/norm_bound.h"
#include "coordinator/aggregation/order_statistics.h"
#include "coordinator/aggregation/rule_run.h"
#include "coordinator/aggregation/server_optimizer.h"

namespace chorale::coordinator {
namespace {

// Vectors of the model's size that the rule carries over.
std::uint64_t NumStateVectors(const ServerRuleRequest& request) {
  switch (request.rule.rule_case()) {
    case v1::AggregationSpec::kFedavg:
      return request.has_control_variates ? 1 : 0;
    case v1::AggregationSpec::kFedavgm:
      return 1;
    case v1::AggregationSpec::kFedadam:
    case v1::AggregationSpec::kFedyogi:
    case v1::AggregationSpec::kFedadagrad:
      return 2;
    case v1::AggregationSpec::kCyclic:
    case v1::AggregationSpec::kMedian:
    case v1::AggregationSpec::kTrimmedMean:
    case v1::AggregationSpec::kMultiKrum:
    case v1::AggregationSpec::kNormBound:
    case v1::AggregationSpec::RULE_NOT_SET:
      return 0;
  }
  return 0;
}

Status CheckSizes(const ServerRuleRequest& request) {
  const std::uint64_t model_bytes = request.model.size_bytes;
  if (model_bytes % sizeof(float) != 0) {
    return InvalidArgument("a model of " + std::to_string(model_bytes) +
                           " bytes holds no whole number of float32 values");
  }
  const std::uint64_t update_bytes = model_bytes * (request.has_control_variates ? 2 : 1);
  for (const Contribution& contribution : request.contributions) {
    if (contribution.payload.size_bytes == update_bytes) continue;
    return InvalidArgument("the update of site " + contribution.site.value() + " has " +
                           std::to_string(contribution.payload.size_bytes) + " bytes, not the " +
                           std::to_string(update_bytes) + " that the model asks for");
  }
  const std::uint64_t state_bytes = NumStateVectors(request) * model_bytes;
  if (!request.state.has_value() || request.state->size_bytes == state_bytes) return OkStatus();
  return InvalidArgument("the state of the aggregation has " +
                         std::to_string(request.state->size_bytes) + " bytes, not " +
                         std::to_string(state_bytes));
}

StatusOr<ServerRuleResult> OnlyModel(StatusOr<HeldPayload> model) {
  if (!model.ok()) return std::move(model).status();
  return ServerRuleResult{*std::move(model), std::nullopt};
}

StatusOr<ServerRuleResult> Average(const RuleRun& run, const v1::FederatedAveraging& spec) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> weights,
                           ContributionWeights(run.request.contributions, spec.weighting()));
  return OnlyModel(AddUpdates(run, weights));
}

StatusOr<ServerRuleResult> PassOn(const RuleRun& run) {
  const std::size_t reports = run.request.contributions.size();
  if (reports != 1) {
    return InvalidArgument("cyclic training takes one report a round, got " +
                           std::to_string(reports));
  }
  return OnlyModel(AddUpdates(run, UniformWeights(1)));
}

}  // namespace

StatusOr<ServerRuleResult> ApplyServerRule(PayloadStore& payloads, const ServerRuleRequest& request,
                                           int num_threads, const std::atomic<bool>& cancelled) {
  if (request.contributions.empty()) return InvalidArgument("there is nothing to average");
  CHORALE_RETURN_IF_ERROR(CheckSizes(request));
  const v1::AggregationSpec& rule = request.rule;
  if (request.has_control_variates && !rule.has_fedavg()) {
    return InvalidArgument("control variates (scaffold) are averaged by fedavg alone");
  }
  const RuleRun run{payloads, request, num_threads, cancelled};
  switch (rule.rule_case()) {
    case v1::AggregationSpec::kFedavg:
      return request.has_control_variates ? ApplyScaffold(run, rule.fedavg())
                                          : Average(run, rule.fedavg());
    case v1::AggregationSpec::kFedavgm:
      return ApplyMomentum(run, rule.fedavgm());
    case v1::AggregationSpec::kFedadam:
      return ApplyAdaptive(run, SecondMoment::kAdam, rule.fedadam());
    case v1::AggregationSpec::kFedyogi:
      return ApplyAdaptive(run, SecondMoment::kYogi, rule.fedyogi());
    case v1::AggregationSpec::kFedadagrad:
      return ApplyAdaptive(run, SecondMoment::kAdagrad, rule.fedadagrad());
    case v1::AggregationSpec::kCyclic:
      return PassOn(run);
    case v1::AggregationSpec::kMedian:
      return OnlyModel(ApplyMedian(run));
    case v1::AggregationSpec::kTrimmedMean:
      return OnlyModel(ApplyTrimmedMean(run, rule.trimmed_mean()));
    case v1::AggregationSpec::kMultiKrum:
      return OnlyModel(ApplyMultiKrum(run, rule.multi_krum()));
    case v1::AggregationSpec::kNormBound:
      return OnlyModel(ApplyNormBound(run, rule.norm_bound()));
    case v1::AggregationSpec::RULE_NOT_SET:
      break;
  }
  return InvalidArgument("aggregation must name a rule");
}

}  // namespace chorale::coordinator
