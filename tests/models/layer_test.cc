#include "models/layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "models/sizes.h"
#include "tests/models/toy_graphs.h"

// The shape rule, parameters and cost of every operation, each against numbers worked out by hand.
namespace chorale::models {
namespace {

struct Case {
  std::string name;
  std::string operation;
  std::vector<Shape> inputs;
  Shape output;
  std::string parameters;  // "weight[4, 3] bias[4]"
  std::uint64_t multiply_adds = 0;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::string ParametersOf(const GraphPlan& plan, const GraphStep& step) {
  std::string text;
  for (std::size_t i = 0; i < step.num_parameters; ++i) {
    const GraphParameter& parameter = plan.parameters()[step.first_parameter + i];
    // Without "node.".
    text += (i == 0 ? "" : " ") + parameter.name.substr(5) + ShapeText(parameter.shape);
  }
  return text;
}

class LayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(LayerTest, HasTheShapeParametersAndCostOfItsOperation) {
  const Case& c = GetParam();
  const StatusOr<GraphPlan> plan = Plan(GraphAround(c.operation, c.inputs));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const GraphStep& step = plan->steps()[0];

  EXPECT_EQ(step.output, c.output);
  EXPECT_EQ(plan->shape_of(c.inputs.size()), c.output);
  EXPECT_EQ(ParametersOf(*plan, step), c.parameters);
  EXPECT_EQ(step.multiply_adds, c.multiply_adds);
}

constexpr char kNorm[] = "weight[4] bias[4]";
constexpr char kAttention[] =
    "in_proj_weight[18, 6] in_proj_bias[18] out_proj.weight[6, 6] out_proj.bias[6]";

INSTANTIATE_TEST_SUITE_P(
    Operations, LayerTest,
    ::testing::Values(
        Case{"Linear", "linear: {units: 4}", {{3}}, {4}, "weight[4, 3] bias[4]", 12},
        Case{"LinearRows", "linear: {units: 4}", {{5, 3}}, {5, 4}, "weight[4, 3] bias[4]", 60},
        Case{"LinearNoBias", "linear: {units: 2, no_bias: true}", {{3}}, {2}, "weight[2, 3]", 6},
        Case{"Convolution1d",
             "convolution: {channels: 4, kernel: [3]}",
             {{2, 10}},
             {4, 8},
             "weight[4, 2, 3] bias[4]",
             192},
        // floor((28 + 2 - 5) / 2) + 1 = 13 and floor((20 - 3) / 3) + 1 = 6, where 5 is the reach of
        // 3 numbers at distance 2.
        Case{"Convolution2d",
             "convolution: {channels: 8, kernel: [3, 3], stride: [2, 3], padding: [1, 0], "
             "dilation: [2, 1]}",
             {{2, 28, 20}},
             {8, 13, 6},
             "weight[8, 2, 3, 3] bias[8]",
             8 * 13 * 6 * 18},
        Case{"Convolution3d",
             "convolution: {channels: 2, kernel: [1, 2, 3], no_bias: true}",
             {{1, 4, 4, 4}},
             {2, 4, 3, 2},
             "weight[2, 1, 1, 2, 3]",
             48 * 6},
        Case{"ConvolutionInGroups",
             "convolution: {channels: 6, kernel: [1], groups: 3}",
             {{9, 5}},
             {6, 5},
             "weight[6, 3, 1] bias[6]",
             90},
        Case{"ConvolutionThatJustFits",
             "convolution: {channels: 1, kernel: [5], no_bias: true}",
             {{1, 5}},
             {1, 1},
             "weight[1, 1, 5]",
             5},
        Case{"Embedding", "embedding: {rows: 10, width: 4}", {{7}}, {7, 4}, "weight[10, 4]", 0},
        Case{"LayerNorm", "layer_norm: {}", {{3, 4}}, {3, 4}, kNorm, 24},
        Case{"GroupNorm", "group_norm: {groups: 2}", {{4, 5}}, {4, 5}, kNorm, 40},
        Case{"InstanceNorm", "instance_norm: {}", {{4, 5}}, {4, 5}, kNorm, 40},
        Case{"BatchNorm",
             "batch_norm: {}",
             {{4}},
             {4},
             "weight[4] bias[4] running_mean[4] running_var[4]",
             8},
        Case{"Relu", "activation: relu", {{3, 4}}, {3, 4}, "", 0},
        Case{"Softmax", "activation: softmax", {{5}}, {5}, "", 0},
        Case{"MaxPool",
             "pool: {kind: max, kernel: [2, 3]}",
             {{4, 9, 9}},
             {4, 4, 3},
             "",
             4 * 4 * 3 * 6},
        Case{"AveragePool",
             "pool: {kind: average, kernel: [3], stride: [2], padding: [1]}",
             {{4, 8}},
             {4, 4},
             "",
             48},
        Case{"AdaptivePool",
             "adaptive_pool: {kind: average, size: [1, 2]}",
             {{4, 6, 6}},
             {4, 1, 2},
             "",
             4 * 2 * 18},
        // Windows of 7 over 3 reach over up to 4 numbers.
        Case{"AdaptivePoolUneven",
             "adaptive_pool: {kind: max, size: [3]}",
             {{2, 7}},
             {2, 3},
             "",
             24},
        Case{"Flatten", "flatten: {}", {{2, 3, 4}}, {24}, "", 0},
        Case{"Reshape", "reshape: {shape: [4, 3, 2]}", {{24}}, {4, 3, 2}, "", 0},
        Case{"Transpose", "transpose: {axes: [2, 0, 1]}", {{2, 3, 4}}, {4, 2, 3}, "", 0},
        Case{"Concat", "concat: {axis: 1}", {{2, 3}, {2, 1}, {2, 5}}, {2, 9}, "", 0},
        Case{"Add", "add: {}", {{2, 3}, {2, 3}, {2, 3}}, {2, 3}, "", 12},
        Case{"AddBroadcast", "add: {}", {{3}, {2, 1, 1}, {4, 1}}, {2, 4, 3}, "", 48},
        Case{"Multiply", "multiply: {}", {{2, 3}, {1, 3}}, {2, 3}, "", 6},
        Case{"Slice", "slice: {axis: 1, begin: 1, end: 4}", {{2, 5}}, {2, 3}, "", 0},
        Case{"SliceDropsAxis", "slice: {begin: 1, end: 2, drop_axis: true}", {{2, 5}}, {5}, "", 0},
        Case{"Dropout", "dropout: {rate: 0.5}", {{2, 5}}, {2, 5}, "", 0},
        Case{"Gru",
             "recurrent: {kind: gru, hidden: 4}",
             {{5, 3}},
             {5, 4},
             "weight_ih_l0[12, 3] weight_hh_l0[12, 4] bias_ih_l0[12] bias_hh_l0[12]",
             5 * 12 * 7},
        Case{"Lstm",
             "recurrent: {kind: lstm, hidden: 2, layers: 2, bidirectional: true}",
             {{5, 3}},
             {5, 4},
             "weight_ih_l0[8, 3] weight_hh_l0[8, 2] bias_ih_l0[8] bias_hh_l0[8] "
             "weight_ih_l0_reverse[8, 3] weight_hh_l0_reverse[8, 2] bias_ih_l0_reverse[8] "
             "bias_hh_l0_reverse[8] "
             "weight_ih_l1[8, 4] weight_hh_l1[8, 2] bias_ih_l1[8] bias_hh_l1[8] "
             "weight_ih_l1_reverse[8, 4] weight_hh_l1_reverse[8, 2] bias_ih_l1_reverse[8] "
             "bias_hh_l1_reverse[8]",
             5 * 2 * (8 * 5 + 8 * 6)},
        Case{"SelfAttention",
             "attention: {heads: 2}",
             {{5, 6}},
             {5, 6},
             kAttention,
             // Three projections, scores and mixture, the result.
             3 * 5 * 36 + 2 * 25 * 6 + 5 * 36},
        Case{"CrossAttention",
             "attention: {heads: 3, dropout: 0.1}",
             {{5, 6}, {7, 6}, {7, 6}},
             {5, 6},
             kAttention,
             (5 + 7 + 7) * 36 + 2 * 35 * 6 + 5 * 36},
        Case{"Upsample", "upsample: {factor: 3}", {{2, 4, 5}}, {2, 12, 15}, "", 0}),
    [](const auto& test) { return test.param.name; });

TEST(LayerTest, ALearnedConstantTakesNoInputs) {
  v1::ModelGraph graph = GraphOf(R"(
inputs: [{name: x, shape: [3]}]
nodes:
  - {name: c, learned_constant: {shape: [2, 3]}}
  - {name: sum, inputs: [x, c], add: {}}
  - {name: flat, inputs: [sum], flatten: {}}
  - {name: head, inputs: [flat], linear: {units: 1}}
output: head
)");

  const StatusOr<GraphPlan> plan = Plan(graph);

  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->parameters()[0].name, "c.weight");
  EXPECT_EQ(plan->steps()[1].output, (Shape{2, 3}));
}

// What a training step keeps: inputs 3, the linear layer's 4, its activation's 4, the logit 1, and
// 2 for loss and target.
TEST(LayerTest, CountsTheNumbersThatATrainingStepKeeps) {
  const StatusOr<GraphPlan> plan = Plan(GraphOf(R"(
inputs: [{name: x, shape: [3]}]
nodes:
  - {name: a, inputs: [x], linear: {units: 4}}
  - {name: b, inputs: [a], activation: gelu}
  - {name: c, inputs: [b], linear: {units: 1}}
output: c
)"));

  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->num_activations(), 3 + 4 + 4 + 1 + 2);
  EXPECT_EQ(plan->multiply_adds(), 12 + 4);
}

// A window at the margin of 2^32 - 1 zeros makes a small result of a huge copy.
TEST(LayerTest, CountsThePaddedInputOfAConvolution) {
  const StatusOr<GraphPlan> plan = Plan(GraphAround(
      "convolution: {channels: 1, kernel: [1], stride: [1000000], padding: [1000000]}", {{1, 1}}));

  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->steps()[0].output, (Shape{1, 3}));
  EXPECT_GT(plan->num_activations(), 2000000);
}

struct FanCase {
  std::string name;
  std::string operation;
  std::vector<Shape> inputs;
  std::size_t parameter;
  v1::Initializer initializer;
  std::uint64_t fan_in;
  std::uint64_t fan_out;
};

void PrintTo(const FanCase& c, std::ostream* out) { *out << c.name; }

class InitializerTest : public ::testing::TestWithParam<FanCase> {};

TEST_P(InitializerTest, IsPyTorchsUnlessOneIsAskedFor) {
  const FanCase& c = GetParam();
  const StatusOr<GraphPlan> plan = Plan(GraphAround(c.operation, c.inputs));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const GraphParameter& parameter = plan->parameters()[c.parameter];

  EXPECT_EQ(parameter.initializer, c.initializer);
  EXPECT_EQ(parameter.fan_in, c.fan_in);
  EXPECT_EQ(parameter.fan_out, c.fan_out);
}

constexpr auto kFanIn = v1::INITIALIZER_FAN_IN_UNIFORM;
constexpr auto kXavier = v1::INITIALIZER_XAVIER_UNIFORM;
constexpr auto kZeros = v1::INITIALIZER_ZEROS;
constexpr auto kOnes = v1::INITIALIZER_ONES;

INSTANTIATE_TEST_SUITE_P(
    Operations, InitializerTest,
    ::testing::Values(
        FanCase{"LinearWeight", "linear: {units: 4}", {{3}}, 0, kFanIn, 3, 4},
        FanCase{"LinearBias", "linear: {units: 4}", {{3}}, 1, kFanIn, 3, 4},
        FanCase{"LinearAsked",
                "linear: {units: 4}, weight_initializer: xavier_uniform",
                {{3}},
                0,
                kXavier,
                3,
                4},
        FanCase{"LinearBiasAsked",
                "linear: {units: 4}, bias_initializer: zeros",
                {{3}},
                1,
                kZeros,
                3,
                4},
        FanCase{"Convolution",
                "convolution: {channels: 4, kernel: [3, 3]}",
                {{2, 5, 5}},
                0,
                kFanIn,
                18,
                36},
        FanCase{"ConvolutionInGroups",
                "convolution: {channels: 4, kernel: [3], groups: 2}",
                {{2, 5}},
                0,
                kFanIn,
                3,
                12},
        FanCase{
            "Embedding", "embedding: {rows: 9, width: 4}", {{2}}, 0, v1::INITIALIZER_NORMAL, 4, 9},
        FanCase{"NormWeight", "layer_norm: {}", {{5}}, 0, kOnes, 1, 1},
        FanCase{"NormBias", "layer_norm: {}", {{5}}, 1, kZeros, 1, 1},
        FanCase{"RunningMean", "batch_norm: {}", {{5}}, 2, kZeros, 1, 1},
        FanCase{"RunningVariance", "batch_norm: {}", {{5}}, 3, kOnes, 1, 1},
        // All within 1/sqrt(hidden), whatever the input's width.
        FanCase{"GruInput", "recurrent: {kind: gru, hidden: 4}", {{5, 3}}, 0, kFanIn, 4, 12},
        FanCase{"GruBias", "recurrent: {kind: gru, hidden: 4}", {{5, 3}}, 3, kFanIn, 4, 12},
        FanCase{"GruAsked",
                "recurrent: {kind: gru, hidden: 4}, weight_initializer: xavier_uniform",
                {{5, 3}},
                0,
                kXavier,
                3,
                12},
        FanCase{"AttentionInput", "attention: {heads: 1}", {{5, 6}}, 0, kXavier, 6, 18},
        FanCase{"AttentionInputBias", "attention: {heads: 1}", {{5, 6}}, 1, kZeros, 6, 18},
        FanCase{"AttentionOutput", "attention: {heads: 1}", {{5, 6}}, 2, kFanIn, 6, 6},
        FanCase{"AttentionOutputBias", "attention: {heads: 1}", {{5, 6}}, 3, kZeros, 6, 6}),
    [](const auto& test) { return test.param.name; });

TEST(LayerTest, KnowsNormsAndWhatTheOptimizerLeavesAlone) {
  const StatusOr<GraphPlan> plan = Plan(GraphAround("batch_norm: {}", {{4}}));
  ASSERT_TRUE(plan.ok()) << plan.status();

  std::vector<bool> trainable;
  std::vector<bool> normalization;
  for (const GraphParameter& parameter : plan->parameters()) {
    trainable.push_back(parameter.is_trainable);
    normalization.push_back(parameter.is_normalization);
  }

  // weight, bias, running_mean, running_var of the norm; weight and bias of the head.
  EXPECT_THAT(trainable, ::testing::ElementsAre(true, true, false, false, true, true));
  EXPECT_THAT(normalization, ::testing::ElementsAre(true, true, true, true, false, false));
  EXPECT_TRUE(plan->has_batch_norm());
  EXPECT_TRUE(plan->couples_examples());
}

}  // namespace
}  // namespace chorale::models
