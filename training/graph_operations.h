#pragma once

#include <ATen/ATen.h>

#include <span>
#include <vector>

#include "chorale/v1/model.pb.h"
#include "training/graph_network.h"

namespace chorale::training {

// What one operation takes besides its attributes.
struct OperationInputs {
  std::vector<at::Tensor> values;          // Of the nodes it reads. [rows, ...]
  std::span<const at::Tensor> parameters;  // Its own, in plan order.
  std::size_t first_parameter = 0;         // Their place in the plan.
  std::int64_t rows = 0;
  const GraphNetwork::Mode& mode;
  std::span<at::Generator>
      generators;  // One a part, or one for all; none where nothing is dropped.
};

// The value of a node. [rows, ...] REQUIRES: a node of a sound graph, and inputs of its shapes.
[[nodiscard]] at::Tensor Apply(const v1::GraphNode& node, const OperationInputs& in);

}  // namespace chorale::training
