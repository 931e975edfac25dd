#include <string>
#include <utility>

#include "core/config/yaml.h"
#include "models/graph_builder.h"
#include "models/zoo_family.h"

// ft_transformer (Gorishniy et al. 2021, section 3.3). Its blocks are PyTorch's
// TransformerEncoderLayer(width, heads, 2 * width, dropout, "gelu", batch_first, norm_first).
namespace chorale::models::zoo {
namespace {

using Value = GraphBuilder::Value;

struct BlockShape {
  std::uint32_t width;
  std::uint32_t heads;
  double dropout;
};

Value Attend(GraphBuilder& builder, const std::string& block, const Value& input,
             const BlockShape& shape) {
  const Value norm = builder.LayerNorm(block + "norm1", input);
  v1::Attention& attention = *builder.Node(block + "self_attn", {norm}).mutable_attention();
  attention.set_heads(shape.heads);
  attention.set_dropout(shape.dropout);
  return builder.Add(block + "add1", input,
                     builder.Dropout(block + "dropout1", block + "self_attn", shape.dropout));
}

Value FeedForward(GraphBuilder& builder, const std::string& block, const Value& input,
                  const BlockShape& shape) {
  Value value = builder.LayerNorm(block + "norm2", input);
  value = builder.Linear(block + "linear1", value, 2 * shape.width);
  value = builder.Activate(block + "gelu", value, v1::ACTIVATION_GELU);
  value = builder.Dropout(block + "dropout", value, shape.dropout);
  value = builder.Linear(block + "linear2", value, shape.width);
  value = builder.Dropout(block + "dropout2", value, shape.dropout);
  return builder.Add(block + "add2", input, value);
}

// Input j becomes x_j * scale_j + shift_j. [inputs, width]
Value Tokens(GraphBuilder& builder, std::uint64_t inputs, std::uint32_t width) {
  const Value x = builder.Input("x", {inputs});
  v1::Reshape& column = *builder.Node("tokens.column", {x}).mutable_reshape();
  column.add_shape(inputs);
  column.add_shape(1);
  const Value scale = builder.LearnedConstant("tokens.scale", {inputs, width});
  builder.Node("tokens.scaled", {"tokens.column", scale}).mutable_multiply();
  return builder.Add("tokens", "tokens.scaled",
                     builder.LearnedConstant("tokens.shift", {inputs, width}));
}

}  // namespace

Status Check(const v1::FtTransformer& spec, const std::string& field) {
  const std::uint32_t width = Or(spec.width(), 32);
  const std::uint32_t heads = Or(spec.heads(), 4);
  CHORALE_RETURN_IF_ERROR(CheckIn(width, 1, 1024, field + ".width"));
  CHORALE_RETURN_IF_ERROR(CheckIn(Or(spec.blocks(), 2), 1, 16, field + ".blocks"));
  CHORALE_RETURN_IF_ERROR(CheckIn(heads, 1, 64, field + ".heads"));
  if (width % heads != 0) {
    return config::FieldError(field + ".width", "must be a multiple of heads (" +
                                                    std::to_string(heads) + "), got " +
                                                    std::to_string(width));
  }
  CHORALE_RETURN_IF_ERROR(CheckDropout(spec.dropout(), field));
  return CheckLoss(spec, field);
}

Graph Expand(const v1::FtTransformer& spec, std::uint64_t inputs, const std::string&) {
  const BlockShape shape{Or(spec.width(), 32), Or(spec.heads(), 4), spec.dropout()};
  const v1::Loss loss = LossOf(spec);
  GraphBuilder builder;
  const Value class_token = builder.LearnedConstant("class_token", {1, shape.width});
  Value value = builder.Concat("sequence", class_token, Tokens(builder, inputs, shape.width), 0);
  for (std::uint32_t i = 0; i < Or(spec.blocks(), 2); ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".";
    value = Attend(builder, block, value, shape);
    value = FeedForward(builder, block, value, shape);
  }
  value = builder.Pick("class", value, 0);
  value = builder.LayerNorm("norm", value);
  value = builder.Activate("relu", value, v1::ACTIVATION_RELU);
  value = builder.Linear("head", value, OutputsFor(loss));
  return std::move(builder).Build(value, loss);
}

}  // namespace chorale::models::zoo
