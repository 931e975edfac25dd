#include "training/graph_operations.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "training/recurrent_layer.h"

namespace chorale::training {
namespace {

using at::Tensor;
using Sizes = std::vector<std::int64_t>;

template <typename Numbers>
Sizes ToSizes(const Numbers& numbers) {
  return {numbers.begin(), numbers.end()};
}

Sizes WithRows(std::int64_t rows, Sizes shape) {
  shape.insert(shape.begin(), rows);
  return shape;
}

Tensor Parameter(const OperationInputs& in, std::size_t index) {
  return index < in.parameters.size() ? in.parameters[index] : Tensor();
}

// As wide as the products of this mode are computed. An undefined tensor stays undefined.
Tensor Narrowed(const OperationInputs& in, const Tensor& tensor) {
  if (!in.mode.products_in_bfloat16 || !tensor.defined()) return tensor;
  return tensor.to(at::kBFloat16);
}

// Of the parameters `weight` and the next one, its bias, where there is one: outputs [first, first
// + size), or all of them.
struct AffinePart {
  std::size_t weight = 0;
  std::int64_t first = 0;
  std::int64_t size = -1;
};
Tensor Affine(const OperationInputs& in, const Tensor& x, const AffinePart& part) {
  Tensor weight = Parameter(in, part.weight), bias = Parameter(in, part.weight + 1);
  if (part.size >= 0) {
    weight = weight.narrow(0, part.first, part.size);
    bias = bias.narrow(0, part.first, part.size);
  }
  Tensor y =
      at::linear(Narrowed(in, x), Narrowed(in, weight), Narrowed(in, bias)).to(x.scalar_type());
  if (in.mode.tape == nullptr) return y;
  in.mode.tape->Add({.kind = LayerRecord::Kind::kAffine,
                     .weight = in.first_parameter + part.weight,
                     .has_bias = bias.defined(),
                     .bias = in.first_parameter + part.weight + 1,
                     .first_out = part.first,
                     .input = x.detach(),
                     .output = in.mode.tape->Watch(y)});
  return y;
}

// A use of all of a node's parameters, weight and bias, that made `y`.
Tensor Recorded(LayerRecord::Kind kind, const v1::GraphNode& node, const OperationInputs& in,
                const Tensor& input, Tensor y) {
  if (in.mode.tape == nullptr) return y;
  in.mode.tape->Add({.kind = kind,
                     .node = &node,
                     .weight = in.first_parameter,
                     .has_bias = in.parameters.size() > 1,
                     .bias = in.first_parameter + 1,
                     .input = input.detach(),
                     .output = in.mode.tape->Watch(y)});
  return y;
}

Tensor Convolve(const v1::Convolution& spec, const OperationInputs& in) {
  const Sizes no_output_padding(static_cast<std::size_t>(spec.kernel_size()), 0);
  return at::convolution(Narrowed(in, in.values[0]), Narrowed(in, Parameter(in, 0)),
                         Narrowed(in, Parameter(in, 1)), ToSizes(spec.stride()),
                         ToSizes(spec.padding()), ToSizes(spec.dilation()), /*transposed=*/false,
                         no_output_padding, spec.groups())
      .to(in.values[0].scalar_type());
}

// The rows of the table that an embedding reads.
Tensor NumbersOf(const v1::Embedding& spec, const Tensor& x) {
  // Compared before the conversion, which NaN would not survive.
  const Tensor is_row = (x >= 0) & (x < static_cast<double>(spec.rows()));
  return at::where(is_row, x, at::zeros({}, x.options())).to(at::kLong);
}

Tensor NormalizeBatch(const v1::BatchNorm& spec, const OperationInputs& in) {
  const Tensor& x = in.values[0];
  // One number a channel has no variance: the running values stand in for it.
  const bool takes_moments = in.mode.is_training && x.numel() > x.size(1);
  return at::batch_norm(x, Parameter(in, 0), Parameter(in, 1), Parameter(in, 2), Parameter(in, 3),
                        takes_moments, spec.momentum(), spec.epsilon(), /*cudnn_enabled=*/true);
}

Tensor Activate(v1::Activation activation, const Tensor& x) {
  switch (activation) {
    case v1::ACTIVATION_RELU:
      return at::relu(x);
    case v1::ACTIVATION_TANH:
      return at::tanh(x);
    case v1::ACTIVATION_GELU:
      return at::gelu(x);
    case v1::ACTIVATION_SILU:
      return at::silu(x);
    case v1::ACTIVATION_SIGMOID:
      return at::sigmoid(x);
    case v1::ACTIVATION_SOFTMAX:
      return at::softmax(x, -1);
    default:
      return x;  // No sound graph has another.
  }
}

Tensor PoolOver(const v1::Pool& spec, const Tensor& x) {
  const Sizes kernel = ToSizes(spec.kernel());
  const Sizes stride = ToSizes(spec.stride());
  const Sizes padding = ToSizes(spec.padding());
  const bool is_max = spec.kind() == v1::POOL_KIND_MAX;
  switch (spec.kernel_size()) {
    case 1:
      return is_max ? at::max_pool1d(x, kernel, stride, padding)
                    : at::avg_pool1d(x, kernel, stride, padding);
    case 2:
      return is_max ? at::max_pool2d(x, kernel, stride, padding)
                    : at::avg_pool2d(x, kernel, stride, padding);
    default:
      return is_max ? at::max_pool3d(x, kernel, stride, padding)
                    : at::avg_pool3d(x, kernel, stride, padding);
  }
}

Tensor PoolTo(const v1::AdaptivePool& spec, const Tensor& x) {
  const Sizes size = ToSizes(spec.size());
  const bool is_max = spec.kind() == v1::POOL_KIND_MAX;
  switch (size.size()) {
    case 1:
      return is_max ? std::get<0>(at::adaptive_max_pool1d(x, size))
                    : at::adaptive_avg_pool1d(x, size);
    case 2:
      return is_max ? std::get<0>(at::adaptive_max_pool2d(x, size))
                    : at::adaptive_avg_pool2d(x, size);
    default:
      return is_max ? std::get<0>(at::adaptive_max_pool3d(x, size))
                    : at::adaptive_avg_pool3d(x, size);
  }
}

Tensor EnlargeBy(std::int64_t factor, const Tensor& x) {
  Sizes size(x.sizes().begin() + 2, x.sizes().end());
  for (std::int64_t& length : size) length *= factor;
  switch (size.size()) {
    case 1:
      return at::upsample_nearest1d(x, at::IntArrayRef(size));
    case 2:
      return at::upsample_nearest2d(x, at::IntArrayRef(size));
    default:
      return at::upsample_nearest3d(x, at::IntArrayRef(size));
  }
}

// Shapes broadcast from the right and the rows stand on the left: shorter ones get ones between.
template <typename Operation>
Tensor Fold(const OperationInputs& in, const Operation& operation) {
  std::int64_t rank = 0;
  for (const Tensor& value : in.values) rank = std::max(rank, value.dim());
  const auto widen = [rank](const Tensor& value) {
    if (value.dim() == rank) return value;
    Sizes sizes(value.sizes().begin(), value.sizes().end());
    sizes.insert(sizes.begin() + 1, static_cast<std::size_t>(rank - value.dim()), 1);
    return value.reshape(sizes);
  };
  Tensor result = widen(in.values[0]);
  for (std::size_t i = 1; i < in.values.size(); ++i)
    result = operation(result, widen(in.values[i]));
  return result;
}

Tensor Cut(const v1::Slice& spec, const Tensor& x) {
  const std::int64_t axis = static_cast<std::int64_t>(spec.axis()) + 1;
  const auto begin = static_cast<std::int64_t>(spec.begin());
  if (spec.drop_axis()) return x.select(axis, begin);
  return x.narrow(axis, begin, static_cast<std::int64_t>(spec.end()) - begin);
}

Tensor Drop(double rate, const OperationInputs& in, const Tensor& x) {
  if (rate == 0 || in.generators.empty()) return x;
  Tensor kept;
  if (in.mode.parts.empty()) {
    kept = at::empty_like(x).bernoulli_(1 - rate, in.generators[0]);
  } else {  // Row-major, so that a part drops alike whatever stands beside it.
    kept = at::empty(x.sizes(), x.options());
    std::int64_t first = 0;
    for (std::size_t i = 0; i < in.mode.parts.size(); ++i) {
      kept.narrow(0, first, in.mode.parts[i].rows).bernoulli_(1 - rate, in.generators[i]);
      first += in.mode.parts[i].rows;
    }
  }
  return x * kept.div_(1 - rate);
}

// One layer of a recurrent node, both directions of it: at::lstm and at::gru tell no gradients by
// their gates.
Tensor RecurRecorded(const v1::Recurrent& spec, const OperationInputs& in, std::size_t first,
                     const Tensor& x) {
  const bool is_lstm = spec.kind() == v1::RECURRENT_KIND_LSTM;
  std::vector<Tensor> results;
  for (std::size_t way = 0; way < (spec.bidirectional() ? 2u : 1u); ++way) {
    const std::size_t place = first + 4 * way;
    const Tensor weight_hh = in.parameters[place + 1], bias_hh = in.parameters[place + 3];
    const Tensor bias = in.parameters[place + 2];
    const Tensor projected =
        at::linear(x.transpose(0, 1), in.parameters[place], is_lstm ? bias + bias_hh : bias);
    const std::size_t output = in.mode.tape->Watch(projected);
    const RecurrentOutputs told = RunRecurrent({.is_lstm = is_lstm,
                                                .is_reverse = way == 1,
                                                .projected = projected,
                                                .weight_hh = weight_hh,
                                                .bias_hh = bias_hh});
    const Tensor before = StatesBefore(told.states, way == 1);
    LayerRecord record{.weight = in.first_parameter + place,
                       .has_bias = true,
                       .bias = in.first_parameter + place + 2,
                       .input = x.detach(),
                       .output = output,
                       .is_steps_first = true};
    in.mode.tape->Add(record);
    record.weight += 1;
    record.bias += 1;
    record.input = before.transpose(0, 1);
    if (!is_lstm) record.reset = told.reset.detach().transpose(0, 1);
    in.mode.tape->Add(std::move(record));
    results.push_back(told.states.transpose(0, 1));
  }
  return results.size() == 1 ? results[0] : at::cat(results, 2);
}

Tensor Recur(const v1::Recurrent& spec, const OperationInputs& in) {
  const Tensor& x = in.values[0];
  const auto layers = static_cast<std::int64_t>(spec.layers());
  const std::int64_t directions = spec.bidirectional() ? 2 : 1;
  if (in.mode.tape != nullptr) {
    Tensor y = x;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      y = RecurRecorded(spec, in, static_cast<std::size_t>(4 * directions * layer), y);
    }
    return y;
  }
  const Tensor zero = at::zeros(
      {layers * directions, in.rows, static_cast<std::int64_t>(spec.hidden())}, x.options());
  const std::vector<Tensor> parameters(in.parameters.begin(), in.parameters.end());
  if (spec.kind() == v1::RECURRENT_KIND_LSTM) {
    return std::get<0>(at::lstm(x, {zero, zero}, parameters, /*has_biases=*/true, layers,
                                /*dropout=*/0, in.mode.is_training, spec.bidirectional(),
                                /*batch_first=*/true));
  }
  return std::get<0>(at::gru(x, zero, parameters, /*has_biases=*/true, layers, /*dropout=*/0,
                             in.mode.is_training, spec.bidirectional(), /*batch_first=*/true));
}

// Vaswani et al. 2017, section 3.2, with the parameters of PyTorch's MultiheadAttention.
Tensor Attend(const v1::Attention& spec, const OperationInputs& in) {
  const std::int64_t width = in.values[0].size(-1);
  const auto heads = static_cast<std::int64_t>(spec.heads());
  const auto split = [&](const Tensor& x) {  // [rows, tokens, width] to [rows, heads, tokens, ...]
    return x.view({in.rows, x.size(1), heads, width / heads}).transpose(1, 2);
  };
  Tensor query, key, value;
  if (in.values.size() == 1) {
    const std::vector<Tensor> parts = Affine(in, in.values[0], {}).chunk(3, -1);
    query = parts[0], key = parts[1], value = parts[2];
  } else {
    const auto project = [&](std::int64_t index) {
      return Affine(in, in.values[static_cast<std::size_t>(index)],
                    {.first = index * width, .size = width});
    };
    query = project(0), key = project(1), value = project(2);
  }
  const double scale = 1 / std::sqrt(static_cast<double>(width / heads));
  const Tensor scores =
      at::matmul(Narrowed(in, split(query * scale)), Narrowed(in, split(key).transpose(-2, -1)))
          .to(query.scalar_type());
  const Tensor shares = Drop(spec.dropout(), in, at::softmax(scores, -1));
  const Tensor read =
      at::matmul(Narrowed(in, shares), Narrowed(in, split(value))).to(value.scalar_type());
  return Affine(in, read.transpose(1, 2).reshape({in.rows, -1, width}), {.weight = 2});
}

Sizes Permutation(const v1::Transpose& spec) {
  Sizes axes = {0};
  for (const std::uint32_t axis : spec.axes()) axes.push_back(std::int64_t{axis} + 1);
  return axes;
}

}  // namespace

Tensor Apply(const v1::GraphNode& node, const OperationInputs& in) {
  using Kind = LayerRecord::Kind;
  const Tensor x = in.values.empty() ? Tensor() : in.values[0];
  switch (node.operation_case()) {
    case v1::GraphNode::kLinear:
      return Affine(in, x, {});
    case v1::GraphNode::kConvolution:
      return Recorded(Kind::kConvolution, node, in, x, Convolve(node.convolution(), in));
    case v1::GraphNode::kEmbedding: {
      const Tensor numbers = NumbersOf(node.embedding(), x);
      return Recorded(Kind::kEmbedding, node, in, numbers,
                      at::embedding(in.parameters[0], numbers));
    }
    case v1::GraphNode::kLayerNorm:
      return Recorded(Kind::kLayerNorm, node, in, x,
                      at::layer_norm(x, {x.size(-1)}, Parameter(in, 0), Parameter(in, 1),
                                     node.layer_norm().epsilon()));
    case v1::GraphNode::kGroupNorm:
      return Recorded(Kind::kChannelNorm, node, in, x,
                      at::group_norm(x, node.group_norm().groups(), Parameter(in, 0),
                                     Parameter(in, 1), node.group_norm().epsilon()));
    case v1::GraphNode::kInstanceNorm:
      return Recorded(Kind::kChannelNorm, node, in, x,
                      at::instance_norm(x, Parameter(in, 0), Parameter(in, 1), {}, {},
                                        /*use_input_stats=*/true, /*momentum=*/0,
                                        node.instance_norm().epsilon(), /*cudnn_enabled=*/true));
    case v1::GraphNode::kBatchNorm:
      return NormalizeBatch(node.batch_norm(), in);
    case v1::GraphNode::kActivation:
      return Activate(node.activation(), x);
    case v1::GraphNode::kPool:
      return PoolOver(node.pool(), x);
    case v1::GraphNode::kAdaptivePool:
      return PoolTo(node.adaptive_pool(), x);
    case v1::GraphNode::kFlatten:
      return x.reshape({in.rows, -1});
    case v1::GraphNode::kReshape:
      return x.reshape(WithRows(in.rows, ToSizes(node.reshape().shape())));
    case v1::GraphNode::kTranspose:
      return x.permute(Permutation(node.transpose()));
    case v1::GraphNode::kConcat:
      return at::cat(in.values, static_cast<std::int64_t>(node.concat().axis()) + 1);
    case v1::GraphNode::kAdd:
      return Fold(in, [](const Tensor& a, const Tensor& b) { return a + b; });
    case v1::GraphNode::kMultiply:
      return Fold(in, [](const Tensor& a, const Tensor& b) { return a * b; });
    case v1::GraphNode::kSlice:
      return Cut(node.slice(), x);
    case v1::GraphNode::kDropout:
      return Drop(node.dropout().rate(), in, x);
    case v1::GraphNode::kRecurrent:
      return Recur(node.recurrent(), in);
    case v1::GraphNode::kAttention:
      return Attend(node.attention(), in);
    case v1::GraphNode::kLearnedConstant:
      return Recorded(Kind::kConstant, node, in, in.parameters[0],
                      in.parameters[0].unsqueeze(0).expand(
                          WithRows(in.rows, ToSizes(node.learned_constant().shape()))));
    case v1::GraphNode::kUpsample:
      return EnlargeBy(node.upsample().factor(), x);
    case v1::GraphNode::OPERATION_NOT_SET:
      break;
  }
  return x;  // No sound graph has a node without operation.
}

}  // namespace chorale::training
