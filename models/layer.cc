#include "models/layer.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>

#include "core/config/field_text.h"
#include "core/config/yaml.h"
#include "models/sizes.h"
#include "models/text.h"

namespace chorale::models {
namespace {

using Node = v1::GraphNode;
using Numbers = google::protobuf::RepeatedField<std::uint32_t>;

constexpr int kMaxWindowAxes = 3;
constexpr double kDefaultEpsilon = 1e-5;
constexpr double kDefaultMomentum = 0.1;

// A list for longer windows than there can be is left alone: it is refused, not filled.
void FillList(Numbers& list, const Numbers& kernel, std::uint32_t value) {
  if (!list.empty() || kernel.size() > kMaxWindowAxes) return;
  list.Resize(kernel.size(), value);
}

void FillWindow(v1::Convolution& convolution) {
  FillList(*convolution.mutable_stride(), convolution.kernel(), 1);
  FillList(*convolution.mutable_padding(), convolution.kernel(), 0);
  FillList(*convolution.mutable_dilation(), convolution.kernel(), 1);
  if (convolution.groups() == 0) convolution.set_groups(1);
}

void FillWindow(v1::Pool& pool) {
  if (pool.stride().empty() && pool.kernel_size() <= kMaxWindowAxes) {
    *pool.mutable_stride() = pool.kernel();
  }
  FillList(*pool.mutable_padding(), pool.kernel(), 0);
}

template <typename Norm>
void FillEpsilon(Norm& norm) {
  if (norm.epsilon() == 0) norm.set_epsilon(kDefaultEpsilon);
}

void FillInitializers(Node& node, v1::Initializer weight, v1::Initializer bias) {
  if (node.weight_initializer() == v1::INITIALIZER_UNSPECIFIED) node.set_weight_initializer(weight);
  if (node.bias_initializer() == v1::INITIALIZER_UNSPECIFIED) node.set_bias_initializer(bias);
}

void FillAttributes(Node& node) {
  switch (node.operation_case()) {
    case Node::kConvolution:
      return FillWindow(*node.mutable_convolution());
    case Node::kPool:
      return FillWindow(*node.mutable_pool());
    case Node::kLayerNorm:
      return FillEpsilon(*node.mutable_layer_norm());
    case Node::kGroupNorm:
      return FillEpsilon(*node.mutable_group_norm());
    case Node::kInstanceNorm:
      return FillEpsilon(*node.mutable_instance_norm());
    case Node::kBatchNorm:
      if (node.batch_norm().momentum() == 0) {
        node.mutable_batch_norm()->set_momentum(kDefaultMomentum);
      }
      return FillEpsilon(*node.mutable_batch_norm());
    case Node::kRecurrent:
      if (node.recurrent().layers() == 0) node.mutable_recurrent()->set_layers(1);
      return;
    default:
      return;
  }
}

// How many inputs an operation takes.
Status CheckNumInputs(const Layer& layer) {
  const int count = layer.node.inputs_size();
  const auto wrong = [&](std::string_view wanted) {
    return config::FieldError(
        layer.field + ".inputs",
        std::string("must be ") + std::string(wanted) + ", got " + std::to_string(count));
  };
  switch (layer.node.operation_case()) {
    case Node::kLearnedConstant:
      return count == 0 ? OkStatus() : wrong("none for a learned constant");
    case Node::kConcat:
    case Node::kAdd:
    case Node::kMultiply:
      return count >= 2 ? OkStatus() : wrong("2 or more");
    case Node::kAttention:
      return count == 1 || count == 3 ? OkStatus() : wrong("1, or 3 (query, key and value)");
    default:
      return count == 1 ? OkStatus() : wrong("1");
  }
}

bool HasParameter(const LayerPlan& plan, bool wants_bias) {
  return std::any_of(plan.parameters.begin(), plan.parameters.end(), [&](const auto& parameter) {
    return (parameter.name.find("bias") != std::string::npos) == wants_bias;
  });
}

// Only what the node has can be initialised.
Status CheckInitializers(const Layer& layer, const LayerPlan& plan) {
  const auto check = [&](v1::Initializer initializer, bool is_bias, const char* attribute) {
    const std::string path = layer.field + "." + attribute;
    if (!v1::Initializer_IsValid(initializer)) {
      return config::FieldError(
          path, "must be one of " + config::EnumChoices(*v1::Initializer_descriptor()));
    }
    if (initializer == v1::INITIALIZER_UNSPECIFIED || HasParameter(plan, is_bias)) {
      return OkStatus();
    }
    return config::FieldError(
        path, std::string("is set, but the node has no ") + (is_bias ? "bias" : "weight"));
  };
  CHORALE_RETURN_IF_ERROR(check(layer.node.weight_initializer(), false, "weight_initializer"));
  return check(layer.node.bias_initializer(), true, "bias_initializer");
}

StatusOr<LayerPlan> PlanOperation(const Layer& layer) {
  switch (layer.node.operation_case()) {
    case Node::kLinear:
    case Node::kConvolution:
    case Node::kEmbedding:
    case Node::kLearnedConstant:
      return PlanWeighted(layer);
    case Node::kLayerNorm:
    case Node::kGroupNorm:
    case Node::kInstanceNorm:
    case Node::kBatchNorm:
      return PlanNormalization(layer);
    case Node::kRecurrent:
      return PlanRecurrent(layer);
    case Node::kAttention:
      return PlanAttention(layer);
    case Node::kPool:
    case Node::kAdaptivePool:
    case Node::kUpsample:
      return PlanPooling(layer);
    case Node::kActivation:
    case Node::kFlatten:
    case Node::kReshape:
    case Node::kTranspose:
    case Node::kConcat:
    case Node::kAdd:
    case Node::kMultiply:
    case Node::kSlice:
    case Node::kDropout:
      return PlanArrangement(layer);
    case Node::OPERATION_NOT_SET:
      break;
  }
  return config::FieldError(
      layer.field, "must name an operation: " + ChoicesOf(*Node::descriptor(), "operation"));
}

}  // namespace

std::string OperationName(const Node& node) {
  if (node.operation_case() == Node::OPERATION_NOT_SET) return "";
  return Node::descriptor()->FindFieldByNumber(node.operation_case())->name();
}

Status Layer::AttributeError(std::string_view attribute, std::string_view problem) const {
  const std::string separator = attribute.empty() ? "" : ".";
  return config::FieldError(field + "." + OperationName(node) + separator + std::string(attribute),
                            problem);
}

Status Layer::Misfit(std::string_view wanted) const {
  std::string shapes;
  // The first few tell enough, and a node may have very many.
  for (std::size_t i = 0; i < std::min<std::size_t>(inputs.size(), 4); ++i) {
    shapes += (i == 0 ? "" : ", ") + ShapeText(*inputs[i]);
  }
  if (inputs.size() > 4) shapes += ", ...";
  return config::FieldError(
      field, "(" + OperationName(node) + ") takes " + std::string(wanted) + ", got " + shapes);
}

Status Layer::CheckAtLeast1(std::string_view attribute, std::uint64_t value) const {
  if (value >= 1) return OkStatus();
  return AttributeError(attribute, "must be at least 1, got 0");
}

Status Layer::CheckRate(std::string_view attribute, double rate) const {
  if (rate >= 0 && rate < 1) return OkStatus();
  return AttributeError(attribute, "must be in [0, 1), got " + NumberText(rate));
}

void FillDefaults(Node& node) {
  FillAttributes(node);
  switch (node.operation_case()) {
    case Node::kLinear:
      return FillInitializers(
          node, v1::INITIALIZER_FAN_IN_UNIFORM,
          node.linear().no_bias() ? v1::INITIALIZER_UNSPECIFIED : v1::INITIALIZER_FAN_IN_UNIFORM);
    case Node::kConvolution:
      return FillInitializers(node, v1::INITIALIZER_FAN_IN_UNIFORM,
                              node.convolution().no_bias() ? v1::INITIALIZER_UNSPECIFIED
                                                           : v1::INITIALIZER_FAN_IN_UNIFORM);
    case Node::kEmbedding:
      return FillInitializers(node, v1::INITIALIZER_NORMAL, v1::INITIALIZER_UNSPECIFIED);
    case Node::kLayerNorm:
    case Node::kGroupNorm:
    case Node::kInstanceNorm:
    case Node::kBatchNorm:
      return FillInitializers(node, v1::INITIALIZER_ONES, v1::INITIALIZER_ZEROS);
    case Node::kLearnedConstant:
      return FillInitializers(node, v1::INITIALIZER_FAN_IN_UNIFORM, v1::INITIALIZER_UNSPECIFIED);
    case Node::kAttention:
      // Its two weights start differently, which no single initializer says.
      return FillInitializers(node, v1::INITIALIZER_UNSPECIFIED, v1::INITIALIZER_ZEROS);
    default:
      return;
  }
}

StatusOr<LayerPlan> PlanLayer(const Layer& layer) {
  if (layer.node.operation_case() != Node::OPERATION_NOT_SET) {
    CHORALE_RETURN_IF_ERROR(CheckNumInputs(layer));
  }
  CHORALE_ASSIGN_OR_RETURN(LayerPlan plan, PlanOperation(layer));
  CHORALE_RETURN_IF_ERROR(CheckInitializers(layer, plan));
  return plan;
}

std::uint64_t WindowPlaces(std::uint64_t size, std::uint64_t kernel, std::uint64_t stride,
                           std::uint64_t padding, std::uint64_t dilation) {
  const std::uint64_t padded = Sum(size, Product(2, padding));
  const std::uint64_t extent = Sum(Product(dilation, kernel - 1), 1);
  return extent > padded ? 0 : (padded - extent) / stride + 1;
}

}  // namespace chorale::models
