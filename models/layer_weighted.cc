#include <string>
#include <utility>

#include "models/layer.h"
#include "models/sizes.h"
#include "models/text.h"

// Operations that are mostly their weights: linear, convolution, embedding, learned constants,
// norms.
namespace chorale::models {
namespace {

struct Fans {
  std::uint64_t in = 1;
  std::uint64_t out = 1;
};

GraphParameter Weight(const Layer& layer, Shape shape, Fans fans) {
  return {.name = "weight",
          .shape = std::move(shape),
          .initializer = layer.node.weight_initializer(),
          .fan_in = fans.in,
          .fan_out = fans.out};
}

GraphParameter Bias(const Layer& layer, std::uint64_t size, Fans fans) {
  return {.name = "bias",
          .shape = {size},
          .initializer = layer.node.bias_initializer(),
          .fan_in = fans.in,
          .fan_out = fans.out};
}

StatusOr<LayerPlan> PlanLinear(const Layer& layer) {
  const v1::Linear& linear = layer.node.linear();
  CHORALE_RETURN_IF_ERROR(layer.CheckAtLeast1("units", linear.units()));
  const Shape& input = layer.input();
  const Fans fans{input.back(), linear.units()};
  LayerPlan plan{.output = input};
  plan.output.back() = linear.units();
  plan.parameters.push_back(Weight(layer, {linear.units(), input.back()}, fans));
  if (!linear.no_bias()) plan.parameters.push_back(Bias(layer, linear.units(), fans));
  plan.multiply_adds = Product(NumNumbers(plan.output), input.back());
  return plan;
}

Status CheckConvolution(const Layer& layer) {
  const v1::Convolution& convolution = layer.node.convolution();
  const int axes = convolution.kernel_size();
  if (axes < 1 || axes > 3) {
    return layer.AttributeError("kernel", "must have 1 to 3 entries, got " + std::to_string(axes));
  }
  const auto check_list = [&](const char* attribute, const auto& list, std::uint32_t least) {
    if (list.size() != axes) {
      return layer.AttributeError(attribute, "must have as many entries as the kernel (" +
                                                 std::to_string(axes) + "), got " +
                                                 std::to_string(list.size()));
    }
    for (const std::uint32_t entry : list) {
      if (entry < least) return layer.CheckAtLeast1(attribute, entry);
    }
    return OkStatus();
  };
  CHORALE_RETURN_IF_ERROR(check_list("kernel", convolution.kernel(), 1));
  CHORALE_RETURN_IF_ERROR(check_list("stride", convolution.stride(), 1));
  CHORALE_RETURN_IF_ERROR(check_list("padding", convolution.padding(), 0));
  CHORALE_RETURN_IF_ERROR(check_list("dilation", convolution.dilation(), 1));
  CHORALE_RETURN_IF_ERROR(layer.CheckAtLeast1("channels", convolution.channels()));
  if (layer.input().size() != static_cast<std::size_t>(axes) + 1) {
    return layer.Misfit("[channels, ...] with " + std::to_string(axes) + " further axes");
  }
  const std::uint64_t in = layer.input().front();
  if (in % convolution.groups() == 0 && convolution.channels() % convolution.groups() == 0) {
    return OkStatus();
  }
  return layer.AttributeError("groups", "must divide " + std::to_string(in) + " and " +
                                            std::to_string(convolution.channels()) +
                                            " channels, got " +
                                            std::to_string(convolution.groups()));
}

StatusOr<LayerPlan> PlanConvolution(const Layer& layer) {
  CHORALE_RETURN_IF_ERROR(CheckConvolution(layer));
  const v1::Convolution& convolution = layer.node.convolution();
  const Shape& input = layer.input();
  LayerPlan plan{.output = {convolution.channels()}};
  Shape weight{convolution.channels(), input.front() / convolution.groups()};
  std::uint64_t field_of_view = 1;
  std::uint64_t padded = input.front();
  bool is_padded = false;
  for (int axis = 0; axis < convolution.kernel_size(); ++axis) {
    const std::uint64_t size = input[static_cast<std::size_t>(axis) + 1];
    const std::uint64_t places =
        WindowPlaces(size, convolution.kernel(axis), convolution.stride(axis),
                     convolution.padding(axis), convolution.dilation(axis));
    if (places == 0) return layer.Misfit("axes at least as long as its kernel reaches");
    plan.output.push_back(places);
    weight.push_back(convolution.kernel(axis));
    field_of_view = Product(field_of_view, convolution.kernel(axis));
    padded = Product(padded, Sum(size, Product(2, convolution.padding(axis))));
    is_padded = is_padded || convolution.padding(axis) > 0;
  }
  // The fans of PyTorch, which counts all channels of the result in every group.
  const Fans fans{Product(weight[1], field_of_view), Product(weight[0], field_of_view)};
  plan.multiply_adds = Product(NumNumbers(plan.output), fans.in);
  plan.parameters.push_back(Weight(layer, std::move(weight), fans));
  if (!convolution.no_bias()) plan.parameters.push_back(Bias(layer, plan.output[0], fans));
  // Some implementations copy the input with its margin, which can be much the larger part.
  if (is_padded) plan.num_kept = padded;
  return plan;
}

StatusOr<LayerPlan> PlanEmbedding(const Layer& layer) {
  const v1::Embedding& embedding = layer.node.embedding();
  CHORALE_RETURN_IF_ERROR(layer.CheckAtLeast1("rows", embedding.rows()));
  CHORALE_RETURN_IF_ERROR(layer.CheckAtLeast1("width", embedding.width()));
  if (layer.input().size() >= kMaxAxes) return layer.Misfit("at most 7 axes");
  LayerPlan plan{.output = layer.input()};
  plan.output.push_back(embedding.width());
  plan.parameters.push_back(
      Weight(layer, {embedding.rows(), embedding.width()}, {embedding.width(), embedding.rows()}));
  plan.num_kept = Product(2, NumNumbers(layer.input()));  // Row numbers, of 64 bits.
  return plan;
}

StatusOr<LayerPlan> PlanLearnedConstant(const Layer& layer) {
  const auto& shape = layer.node.learned_constant().shape();
  if (shape.empty() || shape.size() > kMaxAxes) {
    return layer.AttributeError("shape",
                                "must have 1 to 8 axes, got " + std::to_string(shape.size()));
  }
  for (const std::uint64_t size : shape)
    CHORALE_RETURN_IF_ERROR(layer.CheckAtLeast1("shape", size));
  LayerPlan plan{.output = {shape.begin(), shape.end()}};
  plan.parameters.push_back(Weight(layer, plan.output, {plan.output.back(), plan.output.back()}));
  return plan;
}

// What a norm has for each of its channels, and what it keeps beside its output.
struct NormShape {
  std::uint64_t channels = 0;
  std::uint64_t num_statistics = 0;
};

StatusOr<NormShape> CheckGroupNorm(const Layer& layer) {
  const std::uint32_t groups = layer.node.group_norm().groups();
  const std::uint64_t channels = layer.input().front();
  if (groups == 0 || channels % groups != 0) {
    return layer.AttributeError("groups", "must divide " + std::to_string(channels) +
                                              " channels, got " + std::to_string(groups));
  }
  return NormShape{channels, Product(2, groups)};
}

StatusOr<NormShape> ShapeOfNorm(const Layer& layer) {
  const Shape& input = layer.input();
  switch (layer.node.operation_case()) {
    case v1::GraphNode::kLayerNorm:
      return NormShape{input.back(), Product(2, NumNumbers(input) / input.back())};
    case v1::GraphNode::kGroupNorm:
      return CheckGroupNorm(layer);
    case v1::GraphNode::kInstanceNorm:
      if (input.size() < 2 || NumNumbers(input) == input.front()) {
        return layer.Misfit("[channels, ...] with over 1 number a channel");
      }
      return NormShape{input.front(), Product(2, input.front())};
    default:
      return NormShape{input.front(), 0};  // Batch norm keeps its statistics once for the batch.
  }
}

double EpsilonOf(const v1::GraphNode& node) {
  switch (node.operation_case()) {
    case v1::GraphNode::kLayerNorm:
      return node.layer_norm().epsilon();
    case v1::GraphNode::kGroupNorm:
      return node.group_norm().epsilon();
    case v1::GraphNode::kInstanceNorm:
      return node.instance_norm().epsilon();
    default:
      return node.batch_norm().epsilon();
  }
}

// What batch norm carries from batch to batch: no parameters of the optimizer.
GraphParameter RunningValue(const char* name, std::uint64_t channels, v1::Initializer initializer) {
  return {.name = name,
          .shape = {channels},
          .initializer = initializer,
          .is_trainable = false,
          .is_normalization = true};
}

}  // namespace

StatusOr<LayerPlan> PlanWeighted(const Layer& layer) {
  switch (layer.node.operation_case()) {
    case v1::GraphNode::kLinear:
      return PlanLinear(layer);
    case v1::GraphNode::kConvolution:
      return PlanConvolution(layer);
    case v1::GraphNode::kEmbedding:
      return PlanEmbedding(layer);
    default:
      return PlanLearnedConstant(layer);
  }
}

StatusOr<LayerPlan> PlanNormalization(const Layer& layer) {
  if (const double epsilon = EpsilonOf(layer.node); !(epsilon > 0 && epsilon <= 1)) {
    return layer.AttributeError("epsilon",
                                "must be above 0 and at most 1, got " + NumberText(epsilon));
  }
  CHORALE_ASSIGN_OR_RETURN(const NormShape norm, ShapeOfNorm(layer));
  LayerPlan plan{.output = layer.input()};
  plan.parameters = {Weight(layer, {norm.channels}, {}), Bias(layer, norm.channels, {})};
  for (GraphParameter& parameter : plan.parameters) parameter.is_normalization = true;
  if (layer.node.has_batch_norm()) {
    const double momentum = layer.node.batch_norm().momentum();
    if (!(momentum > 0 && momentum <= 1)) {
      return layer.AttributeError("momentum",
                                  "must be above 0 and at most 1, got " + NumberText(momentum));
    }
    plan.parameters.push_back(RunningValue("running_mean", norm.channels, v1::INITIALIZER_ZEROS));
    plan.parameters.push_back(RunningValue("running_var", norm.channels, v1::INITIALIZER_ONES));
  }
  // One for the statistics, one for scale and shift.
  plan.multiply_adds = Product(2, NumNumbers(plan.output));
  plan.num_kept = norm.num_statistics;
  return plan;
}

}  // namespace chorale::models
