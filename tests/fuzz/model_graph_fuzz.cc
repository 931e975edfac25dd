// A model as sites and coordinator take it from a researcher. What is accepted says the same when
// it is written out, and holds what its limits promise; nothing here takes memory for the numbers
// that a graph claims.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "models/model.h"

namespace {

using namespace chorale;

constexpr std::uint64_t kMaxParameters = std::uint64_t{1} << 36;

void Check(const models::GraphPlan& plan) {
  if (plan.layout().num_parameters() == 0 || plan.layout().num_parameters() > kMaxParameters ||
      plan.layout().tensors().size() != plan.parameters().size() ||
      plan.steps().size() != static_cast<std::size_t>(plan.graph().nodes_size()) ||
      plan.num_outputs() == 0 || plan.num_targets() == 0) {
    std::abort();
  }
  for (const models::GraphParameter& parameter : plan.parameters()) {
    if (parameter.initializer == v1::INITIALIZER_UNSPECIFIED) std::abort();
  }
  if (models::Describe(plan).empty()) std::abort();
  // Its graph, with every default written out, is the same model.
  v1::ModelSpec spec;
  *spec.mutable_graph() = plan.graph();
  const auto again = models::PlanOf(spec, plan.num_inputs());
  if (!again.ok() || again->digest() != plan.digest() || again->layout() != plan.layout() ||
      again->multiply_adds() != plan.multiply_adds()) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  v1::ModelSpec spec;
  if (!spec.ParseFromArray(data, static_cast<int>(size))) return 0;
  (void)models::KindName(spec);
  const bool is_valid = models::Validate(spec, "model").ok();
  for (const std::uint64_t num_inputs : {std::uint64_t{12}, ~std::uint64_t{0}}) {
    const auto plan = models::PlanOf(spec, num_inputs);
    if (plan.ok() && !is_valid) std::abort();
    if (plan.ok()) Check(*plan);
  }
  // A graph tells its inputs itself.
  if (spec.has_graph()) {
    const auto plan = models::GraphPlan::Create(spec.graph(), "graph");
    if (plan.ok() != is_valid) std::abort();
    if (plan.ok()) Check(*plan);
  }
  return 0;
}
