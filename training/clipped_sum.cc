#include "training/clipped_sum.h"

#include <string>

#include "core/config/yaml.h"

namespace chorale::training {

Status ValidatePrivate(const models::GraphPlan& plan, std::string_view field) {
  for (const v1::GraphNode& node : plan.graph().nodes()) {
    if (!node.has_batch_norm()) continue;
    return config::FieldError(
        field, "must have no batch norm (node \"" + node.name() +
                   "\"): it mixes patients, so that none can be clipped alone; use group_norm, "
                   "layer_norm or instance_norm");
  }
  if (!plan.graph().loss().has_cox()) return OkStatus();
  return config::FieldError(field,
                            "must not have the loss cox: its risk sets mix patients, so that none "
                            "can be clipped alone; use discrete_survival");
}

}  // namespace chorale::training
