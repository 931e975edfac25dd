#include "models/graph.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "core/config/yaml.h"
#include "core/utf8.h"
#include "models/graph_digest.h"
#include "models/layer.h"
#include "models/loss.h"
#include "models/sizes.h"
#include "models/text.h"

namespace chorale::models {
namespace {

constexpr int kMaxInputs = 64;
constexpr int kMaxNodes = 4096;
constexpr std::size_t kMaxUnitCharacters = 64;
constexpr std::size_t kMaxTensors = 65536;
constexpr std::uint64_t kMaxInputNumbers = std::uint64_t{1} << 32;
constexpr std::uint64_t kMaxParameters = std::uint64_t{1} << 36;
constexpr std::uint64_t kMaxActivations = std::uint64_t{1} << 36;
constexpr std::uint64_t kMaxMultiplyAdds = std::uint64_t{1} << 56;

std::string Item(const std::string& list, int index) {
  return list + "[" + std::to_string(index) + "]";
}

// Shown to people who decide about the graph: nothing that a terminal could act on.
Status CheckUnit(std::string_view unit, const std::string& field) {
  std::size_t characters = 0;
  for (; !unit.empty(); ++characters) {
    const CodePoint next = DecodeUtf8(unit);
    if (!next.is_valid || IsUnsafeToShow(next.value)) {
      return config::FieldError(field, "must be text that can be shown");
    }
    unit.remove_prefix(next.size_bytes);
  }
  if (characters <= kMaxUnitCharacters) return OkStatus();
  return config::FieldError(field,
                            "must have at most 64 characters, got " + std::to_string(characters));
}

Status CheckCount(int count, int most, const std::string& field) {
  if (count >= 1 && count <= most) return OkStatus();
  return config::FieldError(
      field, "must have 1 to " + std::to_string(most) + " entries, got " + std::to_string(count));
}

}  // namespace

// Fills a plan, from the first input to the output. Work and memory are in proportion to the bytes
// of the graph, never to the numbers in it.
class GraphChecker {
 public:
  GraphChecker(v1::ModelGraph graph, std::string_view field)
      : field_(field.empty() ? "graph" : field),
        prefix_(field.empty() ? "" : std::string(field) + ".") {
    plan_.graph_ = std::move(graph);
  }

  StatusOr<GraphPlan> Check() && {
    v1::ModelGraph& graph = plan_.graph_;
    if (HasUnknownFields(graph)) {
      return config::FieldError(field_, "has fields that this version does not know");
    }
    CHORALE_RETURN_IF_ERROR(CheckCount(graph.inputs_size(), kMaxInputs, prefix_ + "inputs"));
    CHORALE_RETURN_IF_ERROR(CheckCount(graph.nodes_size(), kMaxNodes, prefix_ + "nodes"));
    CHORALE_RETURN_IF_ERROR(CheckLoss());
    for (int i = 0; i < graph.inputs_size(); ++i) CHORALE_RETURN_IF_ERROR(AddInput(i));
    for (int i = 0; i < graph.nodes_size(); ++i) CHORALE_RETURN_IF_ERROR(AddNode(i));
    CHORALE_RETURN_IF_ERROR(TakeOutput());
    CHORALE_RETURN_IF_ERROR(CheckEveryNodeIsUsed());
    CHORALE_RETURN_IF_ERROR(LayOut());
    plan_.digest_ = CanonicalDigest(graph);
    return std::move(plan_);
  }

 private:
  Status CheckLoss() {
    v1::ModelGraph& graph = plan_.graph_;
    if (!graph.has_loss()) graph.mutable_loss()->mutable_binary_cross_entropy();
    CHORALE_RETURN_IF_ERROR(ValidateLoss(graph.loss(), prefix_ + "loss"));
    FillDefaults(*graph.mutable_loss());
    return OkStatus();
  }

  // Makes `name` stand for the next value.
  Status AddName(const std::string& name, const std::string& field) {
    if (!IsNodeName(name)) {
      return config::FieldError(field, "must be 1 to 128 characters of [A-Za-z0-9_.-]");
    }
    if (values_.emplace(name, plan_.shapes_.size()).second) return OkStatus();
    return config::FieldError(field, "must be unique, got \"" + name + "\" again");
  }

  // Adds numbers that a training step keeps for each example.
  Status Keep(std::uint64_t numbers, const std::string& field) {
    plan_.num_activations_ = Sum(plan_.num_activations_, numbers);
    if (plan_.num_activations_ <= kMaxActivations) return OkStatus();
    return config::FieldError(field,
                              "would make the model keep over 2^36 numbers for each example");
  }

  Status AddInput(int index) {
    const v1::GraphInput& input = plan_.graph_.inputs(index);
    const std::string field = Item(prefix_ + "inputs", index);
    CHORALE_RETURN_IF_ERROR(AddName(input.name(), field + ".name"));
    CHORALE_RETURN_IF_ERROR(CheckUnit(input.unit(), field + ".unit"));
    CHORALE_RETURN_IF_ERROR(CheckCount(input.shape_size(), kMaxAxes, field + ".shape"));
    Shape shape(input.shape().begin(), input.shape().end());
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) {
      return config::FieldError(field + ".shape",
                                "must be at least 1 along each axis, got " + ShapeText(shape));
    }
    plan_.num_inputs_ = Sum(plan_.num_inputs_, NumNumbers(shape));
    if (plan_.num_inputs_ > kMaxInputNumbers) {
      return config::FieldError(field + ".shape", "would make the inputs over 2^32 numbers");
    }
    CHORALE_RETURN_IF_ERROR(Keep(NumNumbers(shape), field));
    plan_.shapes_.push_back(std::move(shape));
    is_learned_.push_back(false);
    return OkStatus();
  }

  StatusOr<std::vector<std::size_t>> FindInputs(const v1::GraphNode& node,
                                                const std::string& field) {
    std::vector<std::size_t> inputs;
    inputs.reserve(static_cast<std::size_t>(node.inputs_size()));
    for (int i = 0; i < node.inputs_size(); ++i) {
      const auto value = values_.find(node.inputs(i));
      if (value == values_.end()) {
        const std::string name = IsNodeName(node.inputs(i)) ? "\"" + node.inputs(i) + "\"" : "";
        return config::FieldError(Item(field + ".inputs", i),
                                  "must name an input or an earlier node, got " +
                                      (name.empty() ? "what cannot be a name" : name));
      }
      inputs.push_back(value->second);
    }
    return inputs;
  }

  Status AddNode(int index) {
    v1::GraphNode& node = *plan_.graph_.mutable_nodes(index);
    const std::string field = Item(prefix_ + "nodes", index);
    CHORALE_ASSIGN_OR_RETURN(std::vector<std::size_t> inputs, FindInputs(node, field));
    CHORALE_RETURN_IF_ERROR(AddName(node.name(), field + ".name"));
    std::vector<const Shape*> shapes;
    shapes.reserve(inputs.size());
    for (const std::size_t input : inputs) shapes.push_back(&plan_.shapes_[input]);
    FillDefaults(node);
    CHORALE_ASSIGN_OR_RETURN(LayerPlan layer,
                             PlanLayer({.node = node, .inputs = shapes, .field = field}));
    return AddStep(node, std::move(inputs), std::move(layer), field);
  }

  Status AddStep(const v1::GraphNode& node, std::vector<std::size_t> inputs, LayerPlan layer,
                 const std::string& field) {
    CHORALE_RETURN_IF_ERROR(Keep(Sum(NumNumbers(layer.output), layer.num_kept), field));
    plan_.multiply_adds_ = Sum(plan_.multiply_adds_, layer.multiply_adds);
    if (plan_.multiply_adds_ > kMaxMultiplyAdds) {
      return config::FieldError(field, "would make the model take over 2^56 multiply-adds");
    }
    CHORALE_RETURN_IF_ERROR(CheckWhatIsLearned(node, inputs, layer, field));
    GraphStep step{.inputs = std::move(inputs),
                   .output = layer.output,
                   .first_parameter = plan_.parameters_.size(),
                   .num_parameters = layer.parameters.size(),
                   .multiply_adds = layer.multiply_adds,
                   .num_kept = layer.num_kept};
    CHORALE_RETURN_IF_ERROR(AddParameters(node.name(), std::move(layer.parameters), field));
    plan_.has_batch_norm_ = plan_.has_batch_norm_ || node.has_batch_norm();
    plan_.has_dropout_ =
        plan_.has_dropout_ || node.dropout().rate() > 0 || node.attention().dropout() > 0;
    plan_.shapes_.push_back(std::move(layer.output));
    plan_.steps_.push_back(std::move(step));
    return OkStatus();
  }

  // No gradient goes back through the numbers of rows, so that what computed them would not learn.
  Status CheckWhatIsLearned(const v1::GraphNode& node, const std::vector<std::size_t>& inputs,
                            const LayerPlan& layer, const std::string& field) {
    const bool takes_learned = std::any_of(inputs.begin(), inputs.end(),
                                           [&](std::size_t input) { return is_learned_[input]; });
    if (takes_learned && node.has_embedding()) {
      return config::FieldError(
          field, "(embedding) takes numbers of the inputs, not what earlier parameters made");
    }
    is_learned_.push_back(takes_learned || !layer.parameters.empty());
    return OkStatus();
  }

  Status AddParameters(const std::string& node, std::vector<GraphParameter> parameters,
                       const std::string& field) {
    for (GraphParameter& parameter : parameters) {
      num_parameters_ = Sum(num_parameters_, NumNumbers(parameter.shape));
      if (num_parameters_ > kMaxParameters) {
        return config::FieldError(field, "would make the model over 2^36 parameters");
      }
      if (plan_.parameters_.size() == kMaxTensors) {
        return config::FieldError(field, "would make the model over 65536 tensors of parameters");
      }
      parameter.name = node + "." + parameter.name;
      plan_.parameters_.push_back(std::move(parameter));
    }
    return OkStatus();
  }

  Status TakeOutput() {
    const std::string field = prefix_ + "output";
    const auto value = values_.find(plan_.graph_.output());
    const auto num_inputs = static_cast<std::size_t>(plan_.graph_.inputs_size());
    if (value == values_.end() || value->second < num_inputs) {
      return config::FieldError(field, "must name a node");
    }
    plan_.output_ = value->second;
    const Shape& shape = plan_.shapes_[plan_.output_];
    CHORALE_RETURN_IF_ERROR(CheckOutput(plan_.graph_.loss(), shape, field));
    plan_.num_outputs_ = NumNumbers(shape);
    return Keep(Product(2, plan_.num_outputs_), field);  // The loss and its target.
  }

  // A node for nothing is a slip of its author, and its parameters would never be trained.
  Status CheckEveryNodeIsUsed() {
    std::vector<bool> is_used(plan_.shapes_.size(), false);
    is_used[plan_.output_] = true;
    for (const GraphStep& step : plan_.steps_) {
      for (const std::size_t input : step.inputs) is_used[input] = true;
    }
    const auto num_inputs = static_cast<std::size_t>(plan_.graph_.inputs_size());
    for (int i = 0; i < plan_.graph_.nodes_size(); ++i) {
      if (is_used[num_inputs + static_cast<std::size_t>(i)]) continue;
      return config::FieldError(Item(prefix_ + "nodes", i),
                                "(\"" + plan_.graph_.nodes(i).name() +
                                    "\") must be the input of a later node, or the output");
    }
    return OkStatus();
  }

  Status LayOut() {
    if (plan_.parameters_.empty())
      return config::FieldError(field_, "must have parameters to train");
    std::vector<ParameterLayout::Tensor> tensors;
    tensors.reserve(plan_.parameters_.size());
    for (const GraphParameter& parameter : plan_.parameters_) {
      tensors.push_back({parameter.name, parameter.shape});
    }
    // What can still be wrong: two nodes whose parameters have one name.
    StatusOr<ParameterLayout> layout = ParameterLayout::Create(std::move(tensors));
    if (!layout.ok()) {
      return config::FieldError(prefix_ + "nodes", "clash: " + MessageOf(layout.status()));
    }
    plan_.layout_ = *std::move(layout);
    return OkStatus();
  }

  std::string field_;   // Of the graph, in messages about the whole of it.
  std::string prefix_;  // Before the names of its fields.
  GraphPlan plan_;
  // Ordered, and not hashed: names that share a hash would cost their square.
  std::map<std::string_view, std::size_t> values_;
  std::uint64_t num_parameters_ = 0;
  std::vector<bool> is_learned_;  // Whether a value depends on parameters.
};

StatusOr<GraphPlan> GraphPlan::Create(v1::ModelGraph graph, std::string_view field) {
  return GraphChecker(std::move(graph), field).Check();
}

const Shape& GraphPlan::shape_of(std::size_t value) const { return shapes_[value]; }

std::uint64_t GraphPlan::num_targets() const {
  switch (target_kind()) {
    case TargetKind::kSurvival:
      return 2;
    case TargetKind::kClass:
      return 1;
    case TargetKind::kBinary:
    case TargetKind::kNumber:
    case TargetKind::kMask:
      break;
  }
  return num_outputs_;
}

TargetKind GraphPlan::target_kind() const {
  switch (graph_.loss().kind_case()) {
    case v1::Loss::kCrossEntropy:
      return TargetKind::kClass;
    case v1::Loss::kMeanSquaredError:
    case v1::Loss::kHuber:
    case v1::Loss::kPoisson:
      return TargetKind::kNumber;
    case v1::Loss::kCox:
    case v1::Loss::kDiscreteSurvival:
      return TargetKind::kSurvival;
    case v1::Loss::kBinaryCrossEntropy:
    case v1::Loss::KIND_NOT_SET:
      break;
  }
  return shapes_[output_].size() == 3 ? TargetKind::kMask : TargetKind::kBinary;
}

std::vector<std::vector<std::size_t>> GraphPlan::ReleasesByStep() const {
  const auto num_inputs = static_cast<std::size_t>(graph_.inputs_size());
  std::vector<std::optional<std::size_t>> last_reader(num_inputs + steps_.size());
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    for (const std::size_t value : steps_[i].inputs) last_reader[value] = i;
  }
  last_reader[output_].reset();
  std::vector<std::vector<std::size_t>> releases(steps_.size());
  for (std::size_t value = 0; value < last_reader.size(); ++value) {
    if (last_reader[value]) releases[*last_reader[value]].push_back(value);
  }
  return releases;
}

bool GraphPlan::couples_examples() const { return has_batch_norm_ || graph_.loss().has_cox(); }

}  // namespace chorale::models
