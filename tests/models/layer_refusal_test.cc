#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "tests/models/toy_graphs.h"

// What every operation refuses, and what is said of it.
namespace chorale::models {
namespace {

struct Case {
  std::string name;
  std::string operation;
  std::vector<Shape> inputs;
  std::string error;  // Behind "model.graph.nodes[0]".
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::string NameOf(const ::testing::TestParamInfo<Case>& info) { return info.param.name; }

class LayerRefusalTest : public ::testing::TestWithParam<Case> {};

TEST_P(LayerRefusalTest, NamesTheAttributeOrTheShapes) {
  const Case& c = GetParam();

  EXPECT_THAT(ErrorOf(GraphAround(c.operation, c.inputs)),
              ::testing::StartsWith("model.graph.nodes[0]" + c.error));
}

INSTANTIATE_TEST_SUITE_P(
    Weighted, LayerRefusalTest,
    ::testing::Values(
        Case{"LinearNoUnits", "linear: {}", {{3}}, ".linear.units must be at least 1, got 0"},
        Case{"LinearTwoInputs", "linear: {units: 1}", {{3}, {3}}, ".inputs must be 1, got 2"},
        Case{"ConvolutionNoKernel",
             "convolution: {channels: 1}",
             {{3, 4}},
             ".convolution.kernel must have 1 to 3 entries, got 0"},
        Case{"ConvolutionFourAxes",
             "convolution: {channels: 1, kernel: [1, 1, 1, 1]}",
             {{1, 2, 2, 2, 2}},
             ".convolution.kernel must have 1 to 3 entries, got 4"},
        Case{"ConvolutionKernelZero",
             "convolution: {channels: 1, kernel: [3, 0]}",
             {{1, 4, 4}},
             ".convolution.kernel must be at least 1, got 0"},
        Case{"ConvolutionStrideZero",
             "convolution: {channels: 1, kernel: [3], stride: [0]}",
             {{1, 4}},
             ".convolution.stride must be at least 1, got 0"},
        Case{"ConvolutionStrideList",
             "convolution: {channels: 1, kernel: [3], stride: [1, 1]}",
             {{1, 4}},
             ".convolution.stride must have as many entries as the kernel (1), got 2"},
        Case{"ConvolutionDilationZero",
             "convolution: {channels: 1, kernel: [3], dilation: [0]}",
             {{1, 4}},
             ".convolution.dilation must be at least 1, got 0"},
        Case{"ConvolutionNoChannels",
             "convolution: {kernel: [3]}",
             {{1, 4}},
             ".convolution.channels must be at least 1, got 0"},
        Case{"ConvolutionAxes",
             "convolution: {channels: 1, kernel: [3]}",
             {{1, 4, 4}},
             " (convolution) takes [channels, ...] with 1 further axes, got [1, 4, 4]"},
        Case{"ConvolutionGroups",
             "convolution: {channels: 4, kernel: [1], groups: 2}",
             {{3, 4}},
             ".convolution.groups must divide 3 and 4 channels, got 2"},
        Case{"ConvolutionGroupsOut",
             "convolution: {channels: 3, kernel: [1], groups: 2}",
             {{4, 4}},
             ".convolution.groups must divide 4 and 3 channels, got 2"},
        Case{"ConvolutionTooShort",
             "convolution: {channels: 1, kernel: [3], dilation: [2]}",
             {{1, 4}},
             " (convolution) takes axes at least as long as its kernel reaches"},
        Case{"EmbeddingRows", "embedding: {width: 2}", {{3}}, ".embedding.rows must be at least 1"},
        Case{
            "EmbeddingWidth", "embedding: {rows: 2}", {{3}}, ".embedding.width must be at least 1"},
        Case{"EmbeddingAxes",
             "embedding: {rows: 2, width: 2}",
             {{1, 1, 1, 1, 1, 1, 1, 1}},
             " (embedding) takes at most 7 axes"},
        Case{"ConstantWithInput",
             "learned_constant: {shape: [3]}",
             {{3}},
             ".inputs must be none for a learned constant, got 1"}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Norms, LayerRefusalTest,
    ::testing::Values(
        Case{"EpsilonNegative",
             "layer_norm: {epsilon: -1}",
             {{3}},
             ".layer_norm.epsilon must be above 0 and at most 1, got -1"},
        Case{"EpsilonLarge",
             "batch_norm: {epsilon: 2}",
             {{3}},
             ".batch_norm.epsilon must be above 0 and at most 1, got 2"},
        Case{"GroupsMissing",
             "group_norm: {}",
             {{4, 2}},
             ".group_norm.groups must divide 4 channels, got 0"},
        Case{"GroupsUneven",
             "group_norm: {groups: 3}",
             {{4, 2}},
             ".group_norm.groups must divide 4 channels, got 3"},
        Case{"InstanceOfOne",
             "instance_norm: {}",
             {{4, 1}},
             " (instance_norm) takes [channels, ...] with over 1 number a channel, got [4, 1]"},
        Case{"InstanceOfRow",
             "instance_norm: {}",
             {{4}},
             " (instance_norm) takes [channels, ...] with over 1 number a channel, got [4]"},
        Case{"Momentum",
             "batch_norm: {momentum: 1.5}",
             {{4}},
             ".batch_norm.momentum must be above 0 and at most 1, got 1.5"}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Sequences, LayerRefusalTest,
    ::testing::Values(
        Case{"RecurrentKind",
             "recurrent: {hidden: 2}",
             {{3, 2}},
             ".recurrent.kind must be one of lstm, gru"},
        Case{"RecurrentHidden",
             "recurrent: {kind: gru}",
             {{3, 2}},
             ".recurrent.hidden must be at least 1"},
        Case{"RecurrentLayers",
             "recurrent: {kind: gru, hidden: 2, layers: 9}",
             {{3, 2}},
             ".recurrent.layers must be in [1, 8], got 9"},
        Case{"RecurrentRow",
             "recurrent: {kind: gru, hidden: 2}",
             {{3}},
             " (recurrent) takes [steps, inputs], got [3]"},
        Case{"AttentionHeads",
             "attention: {}",
             {{3, 4}},
             ".attention.heads must divide the width 4, got 0"},
        Case{"AttentionUneven",
             "attention: {heads: 3}",
             {{3, 4}},
             ".attention.heads must divide the width 4, got 3"},
        Case{"AttentionTwoInputs",
             "attention: {heads: 2}",
             {{3, 4}, {3, 4}},
             ".inputs must be 1, or 3 (query, key and value), got 2"},
        Case{"AttentionWidths",
             "attention: {heads: 2}",
             {{3, 4}, {3, 2}, {3, 2}},
             " (attention) takes [tokens, width], all of one width, got [3, 4], [3, 2], [3, 2]"},
        Case{"AttentionLengths",
             "attention: {heads: 2}",
             {{3, 4}, {3, 4}, {5, 4}},
             " (attention) takes key and value of one shape"},
        Case{"AttentionAxes", "attention: {heads: 2}", {{4}}, " (attention) takes [tokens, width]"},
        Case{"AttentionDropout",
             "attention: {heads: 2, dropout: 1}",
             {{3, 4}},
             ".attention.dropout must be in [0, 1), got 1"}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Pools, LayerRefusalTest,
    ::testing::Values(
        Case{"PoolKind", "pool: {kernel: [2]}", {{2, 4}}, ".pool.kind must be one of max, average"},
        Case{"PoolNoKernel",
             "pool: {kind: max}",
             {{2, 4}},
             ".pool.kernel must have 1 to 3 entries, got 0"},
        Case{"PoolKernelZero",
             "pool: {kind: max, kernel: [0]}",
             {{2, 4}},
             ".pool.kernel must be at least 1"},
        Case{"PoolStrideZero",
             "pool: {kind: max, kernel: [2], stride: [0]}",
             {{2, 4}},
             ".pool.stride must be at least 1"},
        Case{"PoolPadding",
             "pool: {kind: max, kernel: [3], padding: [2]}",
             {{2, 4}},
             ".pool.padding must be at most half the kernel (3), got 2"},
        Case{"PoolList",
             "pool: {kind: max, kernel: [3], padding: [1, 1]}",
             {{2, 4}},
             ".pool.padding must have as many entries as the kernel (1), got 2"},
        Case{"PoolTooShort",
             "pool: {kind: max, kernel: [5]}",
             {{2, 4}},
             " (pool) takes axes at least as long as its kernel, got [2, 4]"},
        Case{"AdaptiveSizeZero",
             "adaptive_pool: {kind: max, size: [0]}",
             {{2, 4}},
             ".adaptive_pool.size must be at least 1"},
        Case{"AdaptiveAxes",
             "adaptive_pool: {kind: max, size: [1]}",
             {{2, 4, 4}},
             " (adaptive_pool) takes [channels, ...] with 1 further axes, got [2, 4, 4]"},
        Case{"UpsampleFactor",
             "upsample: {factor: 1}",
             {{2, 4}},
             ".upsample.factor must be in [2, 16], got 1"},
        Case{"UpsampleRow",
             "upsample: {factor: 2}",
             {{2}},
             " (upsample) takes [channels, ...] with 1 to 3 further axes, got [2]"}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Arrangements, LayerRefusalTest,
    ::testing::Values(
        Case{"ReshapeNumbers",
             "reshape: {shape: [2, 4]}",
             {{6}},
             " (reshape) takes as many numbers as [2, 4] has, got [6]"},
        Case{"ReshapeNone", "reshape: {}", {{6}}, ".reshape.shape must have 1 to 8 axes, got 0"},
        Case{"ReshapeNine",
             "reshape: {shape: [6, 1, 1, 1, 1, 1, 1, 1, 1]}",
             {{6}},
             ".reshape.shape must have 1 to 8 axes, got 9"},
        Case{"ReshapeZero", "reshape: {shape: [0, 6]}", {{6}}, ".reshape.shape must be at least 1"},
        // 2^32 * 2^32 is 0 in 64 bits, 2^33 * 2^31 * 6 is 0 too.
        Case{"ReshapeOverflow",
             "reshape: {shape: [4294967296, 4294967296, 6]}",
             {{6}},
             " (reshape) takes as many numbers"},
        Case{"TransposeTwice",
             "transpose: {axes: [0, 0]}",
             {{2, 3}},
             ".transpose.axes must be the numbers from 0 to 1 in some order, as the input is "
             "[2, 3]"},
        Case{"TransposeFew", "transpose: {axes: [0]}", {{2, 3}}, ".transpose.axes must be"},
        Case{"TransposeFar",
             "transpose: {axes: [0, 4294967295]}",
             {{2, 3}},
             ".transpose.axes must be"},
        Case{"ConcatOne", "concat: {}", {{2}}, ".inputs must be 2 or more, got 1"},
        Case{"ConcatAxis",
             "concat: {axis: 1}",
             {{2}, {2}},
             ".concat.axis must be below 1, as the input is [2], got 1"},
        Case{"ConcatMisfit",
             "concat: {axis: 1}",
             {{2, 3}, {3, 3}},
             " (concat) takes shapes that differ along axis 1 alone, got [2, 3], [3, 3]"},
        Case{"ConcatRank", "concat: {}", {{2, 3}, {2}}, " (concat) takes shapes"},
        Case{"AddMisfit",
             "add: {}",
             {{2, 3}, {2}},
             " (add) takes shapes that are equal or broadcast, got [2, 3], [2]"},
        Case{"MultiplyOne", "multiply: {}", {{2}}, ".inputs must be 2 or more, got 1"},
        Case{"SliceAxis", "slice: {axis: 2, end: 1}", {{2, 3}}, ".slice.axis must be below 2"},
        Case{"SliceEmpty",
             "slice: {begin: 1, end: 1}",
             {{2, 3}},
             ".slice.end must be above begin (1) and at most 2, got 1"},
        Case{"SliceFar",
             "slice: {end: 3}",
             {{2, 3}},
             ".slice.end must be above begin (0) and at most 2, got 3"},
        Case{"SliceDropsMany",
             "slice: {end: 2, drop_axis: true}",
             {{2, 3}},
             ".slice.drop_axis needs end to be begin + 1"},
        Case{"SliceDropsLast",
             "slice: {end: 1, drop_axis: true}",
             {{2}},
             ".slice.drop_axis needs end to be begin + 1, and another axis"},
        Case{"DropoutRate", "dropout: {rate: 1}", {{2}}, ".dropout.rate must be in [0, 1), got 1"}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Initializers, LayerRefusalTest,
    ::testing::Values(Case{"WeightOfNothing",
                           "flatten: {}, weight_initializer: zeros",
                           {{2}},
                           ".weight_initializer is set, but the node has no weight"},
                      Case{"BiasOfNoBias",
                           "linear: {units: 1, no_bias: true}, bias_initializer: zeros",
                           {{2}},
                           ".bias_initializer is set, but the node has no bias"},
                      Case{"BiasOfEmbedding",
                           "embedding: {rows: 2, width: 2}, bias_initializer: zeros",
                           {{2}},
                           ".bias_initializer is set, but the node has no bias"}),
    NameOf);

// Values that no YAML file can hold, and a message can.
TEST(LayerRefusalTest, RefusesNumbersThatAreNone) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const auto error = [](auto spoil) {
    v1::ModelGraph graph = GraphAround("activation: relu", {{2, 4}});
    spoil(*graph.mutable_nodes(0));
    return ErrorOf(graph);
  };
  using ::testing::HasSubstr;

  EXPECT_THAT(error([](auto& n) { n.mutable_layer_norm()->set_epsilon(kNan); }),
              HasSubstr("nodes[0].layer_norm.epsilon must be above 0 and at most 1, got nan"));
  EXPECT_THAT(error([](auto& n) { n.mutable_batch_norm()->set_momentum(kNan); }),
              HasSubstr("nodes[0].batch_norm.momentum must be above 0 and at most 1, got nan"));
  EXPECT_THAT(error([](auto& n) { n.mutable_dropout()->set_rate(kNan); }),
              HasSubstr("nodes[0].dropout.rate must be in [0, 1), got nan"));
}

TEST(LayerRefusalTest, RefusesUnknownEnumValues) {
  const auto error = [](auto spoil) {
    v1::ModelGraph graph = GraphAround("activation: relu", {{2, 4}});
    spoil(*graph.mutable_nodes(0));
    return ErrorOf(graph);
  };
  using ::testing::HasSubstr;

  EXPECT_EQ(error([](auto&) {}), "");
  EXPECT_THAT(error([](auto& n) { n.set_activation(static_cast<v1::Activation>(99)); }),
              HasSubstr("nodes[0].activation must be one of relu, tanh, gelu, silu, sigmoid, "
                        "softmax"));
  EXPECT_THAT(error([](auto& n) { n.set_activation(v1::ACTIVATION_UNSPECIFIED); }),
              HasSubstr("nodes[0].activation must be one of"));
  EXPECT_THAT(error([](auto& n) { n.mutable_pool()->set_kind(static_cast<v1::PoolKind>(99)); }),
              HasSubstr("nodes[0].pool.kind must be one of"));
  EXPECT_THAT(
      error([](auto& n) { n.mutable_recurrent()->set_kind(static_cast<v1::RecurrentKind>(-1)); }),
      HasSubstr("nodes[0].recurrent.kind must be one of"));
  EXPECT_THAT(error([](auto& n) {
                n.mutable_linear()->set_units(2);
                n.set_weight_initializer(static_cast<v1::Initializer>(99));
              }),
              HasSubstr("nodes[0].weight_initializer must be one of zeros, ones"));
  EXPECT_THAT(error([](auto& n) { n.clear_operation(); }),
              HasSubstr("nodes[0] must name an operation: linear, convolution"));
}

}  // namespace
}  // namespace chorale::models
