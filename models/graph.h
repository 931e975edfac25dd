#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/model.pb.h"
#include "core/crypto/digest.h"
#include "core/parameters.h"
#include "core/status.h"

// What a model graph computes, worked out without computing it: shapes, parameters, cost. No
// LibTorch here; training/ executes a plan.
namespace chorale::models {

// Without the batch: axis 0 is the first behind it. Row-major.
using Shape = std::vector<std::uint64_t>;

struct GraphParameter {
  std::string name;  // "layers.0.weight": as PyTorch's state_dict would call it.
  Shape shape;
  v1::Initializer initializer = v1::INITIALIZER_UNSPECIFIED;  // Never unspecified in a plan.
  std::uint64_t fan_in = 1;                                   // As the initializer counts them.
  std::uint64_t fan_out = 1;
  bool is_trainable = true;       // False: a running value of batch norm.
  bool is_normalization = false;  // Of a norm layer: what FedBN keeps at the site.
};

// One node with everything resolved.
struct GraphStep {
  std::vector<std::size_t>
      inputs;  // Values: the graph's inputs come first, then the nodes in order.
  Shape output;
  std::size_t first_parameter = 0;  // Into GraphPlan::parameters().
  std::size_t num_parameters = 0;
  std::uint64_t multiply_adds = 0;  // For one example, forward.
  std::uint64_t num_kept = 0;       // Numbers of one example beside the output, from above.
};

// What the targets of an example must be for a loss.
enum class TargetKind { kBinary, kClass, kNumber, kSurvival, kMask };

// A sound graph and what follows from it. Immutable; safe for concurrent use.
class GraphPlan {
 public:
  // INVALID_ARGUMENT as a config::FieldError below `field` ("model.graph"; empty for a file that
  // holds nothing but the graph): names that repeat or are malformed, inputs that are not there
  // before their node, attributes out of bounds, shapes that do not fit, a node that nothing uses,
  // an embedding of what is learned, an output that the loss cannot take, nothing to train, fields
  // that this version does not know; over 2^36 parameters in 65536 tensors, 2^36 numbers of
  // activations or 2^56 multiply-adds an example. Allocates nothing of the model's size, whatever
  // the graph says.
  [[nodiscard]] static StatusOr<GraphPlan> Create(v1::ModelGraph graph, std::string_view field);

  // With every default written out: loss, attributes, lists of windows (stride, padding, dilation:
  // one entry for each axis) and initializers, but those of recurrent nodes and of attention's
  // weights, where one initializer cannot say what PyTorch does. GraphParameter tells that.
  [[nodiscard]] const v1::ModelGraph& graph() const { return graph_; }
  [[nodiscard]] const std::vector<GraphStep>& steps() const { return steps_; }  // One a node.
  // In the order of the flat vector.
  [[nodiscard]] const std::vector<GraphParameter>& parameters() const { return parameters_; }
  [[nodiscard]] const ParameterLayout& layout() const { return layout_; }
  [[nodiscard]] std::size_t output() const { return output_; }  // A value, as of GraphStep::inputs.
  [[nodiscard]] const Shape& shape_of(std::size_t value) const;  // REQUIRES: a value of the graph.

  [[nodiscard]] std::uint64_t num_inputs() const { return num_inputs_; }  // Numbers of an example.
  // Numbers that the loss takes, and numbers of an example's target.
  [[nodiscard]] std::uint64_t num_outputs() const { return num_outputs_; }
  [[nodiscard]] std::uint64_t num_targets() const;
  [[nodiscard]] TargetKind target_kind() const;
  // One example, forward: products of weights and attention, sums of norms, pools and additions.
  [[nodiscard]] std::uint64_t multiply_adds() const { return multiply_adds_; }
  // Numbers of 32 bits that a training step keeps for one example, from above.
  [[nodiscard]] std::uint64_t num_activations() const { return num_activations_; }
  // The values that no step after this one reads, for each step; without gradients they can go
  // then. The output is none of them. [num_nodes]
  [[nodiscard]] std::vector<std::vector<std::size_t>> ReleasesByStep() const;
  [[nodiscard]] bool has_batch_norm() const { return has_batch_norm_; }
  [[nodiscard]] bool has_dropout() const { return has_dropout_; }
  // True when the gradient of a batch is not the sum of its examples': batch norm, Cox.
  [[nodiscard]] bool couples_examples() const;

  // SHA-256 of the canonical encoding (docs/protocol.md): equal for graphs that say the same, on
  // every machine and in every version.
  [[nodiscard]] const crypto::Digest& digest() const { return digest_; }

 private:
  friend class GraphChecker;
  GraphPlan() = default;
  v1::ModelGraph graph_;
  std::vector<GraphStep> steps_;
  std::vector<GraphParameter> parameters_;
  ParameterLayout layout_;
  std::vector<Shape> shapes_;  // [num_inputs + num_nodes]
  std::size_t output_ = 0;
  std::uint64_t num_inputs_ = 0;
  std::uint64_t num_outputs_ = 0;
  std::uint64_t multiply_adds_ = 0;
  std::uint64_t num_activations_ = 0;
  bool has_batch_norm_ = false;
  bool has_dropout_ = false;
  crypto::Digest digest_{};
};

// For people: every layer with its shape, parameters and multiply-adds, then the totals, the loss
// and the digest. Lines end with a line feed.
[[nodiscard]] std::string Describe(const GraphPlan& plan);

}  // namespace chorale::models
