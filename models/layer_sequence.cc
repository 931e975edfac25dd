#include <string>
#include <utility>
#include <vector>

#include "core/config/field_text.h"
#include "models/layer.h"
#include "models/sizes.h"

// Operations over steps or tokens: LSTM, GRU, attention.
namespace chorale::models {
namespace {

constexpr std::uint32_t kMaxRecurrentLayers = 8;

v1::Initializer Or(v1::Initializer chosen, v1::Initializer otherwise) {
  return chosen == v1::INITIALIZER_UNSPECIFIED ? otherwise : chosen;
}

Status CheckRecurrent(const Layer& layer) {
  const v1::Recurrent& recurrent = layer.node.recurrent();
  if (recurrent.kind() == v1::RECURRENT_KIND_UNSPECIFIED ||
      !v1::RecurrentKind_IsValid(recurrent.kind())) {
    return layer.AttributeError(
        "kind", "must be one of " + config::EnumChoices(*v1::RecurrentKind_descriptor()));
  }
  CHORALE_RETURN_IF_ERROR(layer.CheckAtLeast1("hidden", recurrent.hidden()));
  if (recurrent.layers() > kMaxRecurrentLayers) {
    return layer.AttributeError("layers",
                                "must be in [1, 8], got " + std::to_string(recurrent.layers()));
  }
  return layer.input().size() == 2 ? OkStatus() : layer.Misfit("[steps, inputs]");
}

// One layer in one direction. PyTorch starts all of its parameters within 1/sqrt(hidden), whatever
// their own fans.
class Direction {
 public:
  Direction(const Layer& layer, std::uint64_t gates, std::uint64_t in)
      : layer_(layer), gates_(gates), in_(in), hidden_(layer.node.recurrent().hidden()) {}

  void AddParameters(const std::string& suffix, std::vector<GraphParameter>& parameters) const {
    const std::uint64_t rows = Product(gates_, hidden_);
    parameters.push_back(Weight("weight_ih" + suffix, {rows, in_}));
    parameters.push_back(Weight("weight_hh" + suffix, {rows, hidden_}));
    parameters.push_back(Bias("bias_ih" + suffix, rows));
    parameters.push_back(Bias("bias_hh" + suffix, rows));
  }

  std::uint64_t MultiplyAddsPerStep() const { return Product(gates_, hidden_, Sum(in_, hidden_)); }
  // Gates before and after their activations, of both products and their sum, and the states.
  std::uint64_t NumKeptPerStep() const { return Product(4, gates_ + 1, hidden_); }

 private:
  GraphParameter Weight(std::string name, Shape shape) const {
    const v1::Initializer chosen = layer_.node.weight_initializer();
    const bool is_default = chosen == v1::INITIALIZER_UNSPECIFIED;
    return {.name = std::move(name),
            .shape = shape,
            .initializer = Or(chosen, v1::INITIALIZER_FAN_IN_UNIFORM),
            .fan_in = is_default ? hidden_ : shape[1],
            .fan_out = shape[0]};
  }
  GraphParameter Bias(std::string name, std::uint64_t size) const {
    return {.name = std::move(name),
            .shape = {size},
            .initializer = Or(layer_.node.bias_initializer(), v1::INITIALIZER_FAN_IN_UNIFORM),
            .fan_in = hidden_,
            .fan_out = size};
  }

  const Layer& layer_;
  std::uint64_t gates_;
  std::uint64_t in_;
  std::uint64_t hidden_;
};

// Query, key and value are of one width, key and value of one length.
Status CheckAttention(const Layer& layer) {
  const Shape& query = *layer.inputs.front();
  for (const Shape* input : layer.inputs) {
    if (input->size() != 2 || input->back() != query.back()) {
      return layer.Misfit("[tokens, width], all of one width");
    }
  }
  if (layer.inputs.size() == 3 && *layer.inputs[1] != *layer.inputs[2]) {
    return layer.Misfit("key and value of one shape");
  }
  const v1::Attention& attention = layer.node.attention();
  if (attention.heads() == 0 || query.back() % attention.heads() != 0) {
    return layer.AttributeError("heads", "must divide the width " + std::to_string(query.back()) +
                                             ", got " + std::to_string(attention.heads()));
  }
  return layer.CheckRate("dropout", attention.dropout());
}

std::vector<GraphParameter> AttentionParameters(const v1::GraphNode& node, std::uint64_t width) {
  const v1::Initializer weight = node.weight_initializer();
  const std::uint64_t wide = Product(3, width);
  return {{.name = "in_proj_weight",
           .shape = {wide, width},
           .initializer = Or(weight, v1::INITIALIZER_XAVIER_UNIFORM),
           .fan_in = width,
           .fan_out = wide},
          {.name = "in_proj_bias",
           .shape = {wide},
           .initializer = node.bias_initializer(),
           .fan_in = width,
           .fan_out = wide},
          {.name = "out_proj.weight",
           .shape = {width, width},
           .initializer = Or(weight, v1::INITIALIZER_FAN_IN_UNIFORM),
           .fan_in = width,
           .fan_out = width},
          {.name = "out_proj.bias",
           .shape = {width},
           .initializer = node.bias_initializer(),
           .fan_in = width,
           .fan_out = width}};
}

}  // namespace

StatusOr<LayerPlan> PlanRecurrent(const Layer& layer) {
  CHORALE_RETURN_IF_ERROR(CheckRecurrent(layer));
  const v1::Recurrent& recurrent = layer.node.recurrent();
  const std::uint64_t steps = layer.input().front();
  const std::uint64_t gates = recurrent.kind() == v1::RECURRENT_KIND_LSTM ? 4 : 3;
  const std::uint64_t width = Product(recurrent.bidirectional() ? 2 : 1, recurrent.hidden());
  LayerPlan plan{.output = {steps, width}};
  for (std::uint32_t k = 0; k < recurrent.layers(); ++k) {
    const Direction direction(layer, gates, k == 0 ? layer.input().back() : width);
    const std::string suffix = "_l" + std::to_string(k);
    for (const char* way : {"", "_reverse"}) {
      if (*way != '\0' && !recurrent.bidirectional()) continue;
      direction.AddParameters(suffix + way, plan.parameters);
      plan.multiply_adds = Sum(plan.multiply_adds, Product(steps, direction.MultiplyAddsPerStep()));
      plan.num_kept = Sum(plan.num_kept, Product(steps, direction.NumKeptPerStep()));
    }
    plan.num_kept = Sum(plan.num_kept, Product(steps, width));
  }
  return plan;
}

StatusOr<LayerPlan> PlanAttention(const Layer& layer) {
  CHORALE_RETURN_IF_ERROR(CheckAttention(layer));
  const Shape& query = *layer.inputs.front();
  const std::uint64_t width = query.back();
  const std::uint64_t tokens = query.front();
  const std::uint64_t keys = layer.inputs.back()->front();
  LayerPlan plan{.output = query};
  plan.parameters = AttentionParameters(layer.node, width);
  const std::uint64_t projected = Product(Sum(tokens, keys, keys), width);
  const std::uint64_t pairs = Product(tokens, keys);
  plan.multiply_adds = Sum(Product(projected, width),       // Query, key and value.
                           Product(2, pairs, width),        // Scores, and their mixture.
                           Product(tokens, width, width));  // The result.
  // Projections and their copies by heads; scores, weights, and both after dropout with its mask;
  // the mixture, its copy, and the result.
  plan.num_kept = Sum(Product(2, projected), Product(5, layer.node.attention().heads(), pairs),
                      Product(3, tokens, width));
  return plan;
}

}  // namespace chorale::models
