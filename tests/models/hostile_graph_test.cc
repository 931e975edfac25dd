#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "tests/models/toy_graphs.h"

// Graphs that claim more than there is. Each is refused, or planned, in about the time that
// reading it takes, and in as little memory.
namespace chorale::models {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr std::uint64_t kHuge = std::uint64_t{1} << 63;
constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();

TEST(HostileGraphTest, RefusesInputsWhoseNumbersOverflow) {
  const auto with_shape = [](const std::vector<std::uint64_t>& shape) {
    v1::ModelGraph graph = SoundGraph();
    graph.mutable_inputs(0)->mutable_shape()->Assign(shape.begin(), shape.end());
    return ErrorOf(graph);
  };
  const std::string error = "model.graph.inputs[0].shape would make the inputs over 2^32 numbers";

  EXPECT_EQ(with_shape({kHuge}), error);
  EXPECT_EQ(with_shape({kHuge, 2}), error);  // 0 in 64 bits.
  EXPECT_EQ(with_shape({kHuge, kHuge, 3}), error);
  EXPECT_EQ(with_shape({std::numeric_limits<std::uint64_t>::max()}), error);
  EXPECT_EQ(with_shape(std::vector<std::uint64_t>(8, std::uint64_t{1} << 8)), error);  // 2^64.
}

TEST(HostileGraphTest, RefusesInputsThatOverflowTogether) {
  v1::ModelGraph graph = SoundGraph();
  v1::GraphInput& second = *graph.add_inputs();
  second.set_name("x2");
  second.add_shape(std::uint64_t{1} << 32);

  EXPECT_THAT(ErrorOf(graph), StartsWith("model.graph.inputs[1].shape would make the inputs over"));
}

struct Case {
  std::string name;
  std::string operation;
  std::vector<Shape> inputs;
  std::string error;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class HostileLayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(HostileLayerTest, IsRefusedForWhatItWouldTake) {
  EXPECT_THAT(ErrorOf(GraphAround(GetParam().operation, GetParam().inputs)),
              HasSubstr(GetParam().error));
}

constexpr char kParameters[] = "over 2^36 parameters";
constexpr char kNumbers[] = "keep over 2^36 numbers for each example";
constexpr char kWork[] = "over 2^56 multiply-adds";

INSTANTIATE_TEST_SUITE_P(
    Operations, HostileLayerTest,
    ::testing::Values(
        Case{"Linear", "linear: {units: 1048576}", {{1048576}}, kParameters},
        Case{"LinearRows", "linear: {units: 4294967295}", {{1000, 1}}, kNumbers},
        Case{"LinearWork", "linear: {units: 4294967295}", {{4294967295}}, kWork},
        Case{"Kernel",
             "convolution: {channels: 4294967295, kernel: [4294967295, 4294967295, 4294967295], "
             "padding: [4294967295, 4294967295, 4294967295]}",
             {{1, 1, 1, 1}},
             kNumbers},
        // Its copy with a margin is 2^31 numbers along each axis; its result is one number.
        Case{"Margin",
             "convolution: {channels: 1, kernel: [1, 1], stride: [4294967295, 4294967295], "
             "padding: [1000000000, 1000000000]}",
             {{1, 1, 1}},
             kNumbers},
        Case{"Dilation",
             "convolution: {channels: 1, kernel: [4294967295], dilation: [4294967295]}",
             {{1, 4294967295}},
             "takes axes at least as long"},
        Case{"Embedding", "embedding: {rows: 4294967295, width: 4294967295}", {{1}}, kParameters},
        Case{"EmbeddingNumbers", "embedding: {rows: 1, width: 4294967295}", {{64}}, kNumbers},
        Case{"PoolWork",
             "pool: {kind: average, kernel: [4294967295, 4294967295], stride: [1, 1], padding: "
             "[2147483647, 2147483647]}",
             {{1, 1, 1}},
             kWork},
        Case{"PoolOverlap",
             "pool: {kind: average, kernel: [30000, 30000], stride: [1, 1]}",
             {{1, 60000, 60000}},
             kWork},
        Case{"AdaptivePool",
             "adaptive_pool: {kind: max, size: [4294967295, 4294967295]}",
             {{1, 1, 1}},
             kNumbers},
        Case{"Upsample", "upsample: {factor: 16}", {{1, 4096, 4096, 256}}, kNumbers},
        Case{"Broadcast", "add: {}", {{1048576, 1}, {1, 1048576}}, kNumbers},
        Case{"RecurrentHidden", "recurrent: {kind: lstm, hidden: 4294967295}", {{1, 1}}, "over 2^"},
        Case{
            "RecurrentSteps", "recurrent: {kind: lstm, hidden: 1000}", {{1000000000, 1}}, kNumbers},
        Case{"AttentionPairs", "attention: {heads: 1}", {{4000000000, 1}}, kNumbers},
        Case{"AttentionWidth", "attention: {heads: 1}", {{1, 4000000000}}, "over 2^"},
        Case{"AttentionHeads", "attention: {heads: 65536}", {{65536, 65536}}, kNumbers}),
    [](const auto& test) { return test.param.name; });

TEST(HostileGraphTest, RefusesALearnedConstantThatOverflows) {
  const auto with_shape = [](const std::string& shape) {
    return ErrorOf(GraphOf(R"(
inputs: [{name: x, shape: [1]}]
nodes:
  - {name: c, learned_constant: {shape: [)" +
                           shape + R"(]}}
  - {name: y, inputs: [x, c], add: {}}
output: y
)"));
  };

  EXPECT_THAT(with_shape("7"), IsEmpty());
  EXPECT_THAT(with_shape("9223372036854775808"), HasSubstr(kNumbers));
  EXPECT_THAT(with_shape("9223372036854775808, 2"), HasSubstr(kNumbers));
  EXPECT_THAT(with_shape("18446744073709551615, 18446744073709551615"), HasSubstr(kNumbers));
  EXPECT_THAT(with_shape("0"), HasSubstr("must be at least 1"));
}

// x, x + x, ...: node i is `operation` of the node before, twice.
v1::ModelGraph Chain(int num_nodes, const std::string& operation, int copies) {
  v1::ModelGraph graph = GraphOf("inputs: [{name: x, shape: [1, 1]}]\n");
  const v1::ModelGraph pattern = GraphOf("nodes: [{name: pattern, " + operation + "}]\n");
  std::string last = "x";
  for (int i = 0; i < num_nodes; ++i) {
    v1::GraphNode& node = *graph.add_nodes();
    node = pattern.nodes(0);
    node.set_name("n" + std::to_string(i));
    for (int copy = 0; copy < copies; ++copy) node.add_inputs(last);
    last = node.name();
  }
  graph.set_output(last);
  return graph;
}

// 2^4096 numbers if it were believed.
TEST(HostileGraphTest, RefusesDoublingOverAllNodes) {
  EXPECT_THAT(ErrorOf(Chain(4096, "concat: {}", 2)), HasSubstr(kNumbers));
  EXPECT_THAT(ErrorOf(Chain(4096, "upsample: {factor: 16}", 1)), HasSubstr(kNumbers));
}

TEST(HostileGraphTest, RefusesMoreNodesInputsAndTensorsThanThereMayBe) {
  v1::ModelGraph inputs = SoundGraph();
  for (int i = 1; i < 65; ++i) {
    *inputs.add_inputs() = inputs.inputs(0);
    inputs.mutable_inputs(i)->set_name("x" + std::to_string(i));
  }

  EXPECT_EQ(ErrorOf(Chain(4097, "flatten: {}", 1)),
            "model.graph.nodes must have 1 to 4096 entries, got 4097");
  EXPECT_EQ(ErrorOf(inputs), "model.graph.inputs must have 1 to 64 entries, got 65");
  // 64 tensors a node.
  EXPECT_THAT(ErrorOf(Chain(4096,
                            "recurrent: {kind: lstm, hidden: 1, layers: 8, bidirectional: "
                            "true}",
                            1)),
              StartsWith("model.graph.nodes[1024] would make the model over 65536 tensors"));
}

TEST(HostileGraphTest, PlansAsManyNodesAsThereMayBe) {
  v1::ModelGraph graph = Chain(4095, "linear: {units: 1}", 1);
  v1::GraphNode& flat = *graph.add_nodes();
  flat.set_name("flat");
  flat.add_inputs(graph.output());
  flat.mutable_flatten();
  graph.set_output("flat");

  const StatusOr<GraphPlan> plan = Plan(graph);

  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->layout().num_parameters(), 2 * 4095);
}

// One node that takes the same value half a million times: a megabyte on the wire.
TEST(HostileGraphTest, SurvivesANodeOfVeryManyInputs) {
  const auto many = [](const std::string& operation) {
    v1::ModelGraph graph = Chain(1, operation, 350'000);
    v1::GraphNode& flat = *graph.add_nodes();
    flat.set_name("flat");
    flat.add_inputs("n0");
    flat.mutable_flatten();
    v1::GraphNode& head = *graph.add_nodes();
    head.set_name("head");
    head.add_inputs("flat");
    head.mutable_linear()->set_units(1);
    graph.set_output("head");
    return graph;
  };

  EXPECT_THAT(ErrorOf(many("add: {}")), IsEmpty());
  EXPECT_EQ(Plan(many("concat: {axis: 1}"))->steps()[0].output, (Shape{1, 350'000}));
  EXPECT_THAT(ErrorOf(many("activation: relu")), HasSubstr("must be 1, got 350000"));
}

TEST(HostileGraphTest, SurvivesVeryLongLists) {
  v1::ModelGraph graph = GraphAround("convolution: {channels: 1, kernel: [1]}", {{1, 1}});
  v1::Convolution& convolution = *graph.mutable_nodes(0)->mutable_convolution();
  convolution.mutable_kernel()->Resize(200'000, kMost);
  EXPECT_THAT(ErrorOf(graph), HasSubstr("kernel must have 1 to 3 entries, got 200000"));

  graph.mutable_nodes(0)->mutable_pool()->mutable_kernel()->Resize(200'000, kMost);
  graph.mutable_nodes(0)->mutable_pool()->set_kind(v1::POOL_KIND_MAX);
  EXPECT_THAT(ErrorOf(graph), HasSubstr("kernel must have 1 to 3 entries, got 200000"));

  graph.mutable_nodes(0)->mutable_transpose()->mutable_axes()->Resize(200'000, 0);
  EXPECT_THAT(ErrorOf(graph), HasSubstr("axes must be the numbers from 0 to 1"));

  graph.mutable_nodes(0)->mutable_reshape()->mutable_shape()->Resize(200'000, 1);
  EXPECT_THAT(ErrorOf(graph), HasSubstr("shape must have 1 to 8 axes, got 200000"));
}

}  // namespace
}  // namespace chorale::models
