#include "models/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "tests/models/toy_graphs.h"

namespace chorale::models {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// Spoils a sound graph and tells what is said of it.
template <typename Spoil>
std::string ErrorAfter(const Spoil& spoil) {
  v1::ModelGraph graph = SoundGraph();
  spoil(graph);
  return ErrorOf(graph);
}

TEST(GraphPlanTest, TellsWhatASoundGraphIs) {
  const StatusOr<GraphPlan> plan = Plan(GraphOf(R"(
inputs:
  - {name: image, shape: [1, 4, 4]}
  - {name: age, shape: [1], unit: years}
nodes:
  - {name: conv, inputs: [image], convolution: {channels: 2, kernel: [3, 3]}}
  - {name: flat, inputs: [conv], flatten: {}}
  - {name: all, inputs: [age, flat], concat: {}}
  - {name: head, inputs: [all], linear: {units: 3}}
output: head
loss: {cross_entropy: {num_classes: 3}}
)"));
  ASSERT_TRUE(plan.ok()) << plan.status();

  EXPECT_EQ(plan->num_inputs(), 17);
  EXPECT_EQ(plan->num_outputs(), 3);
  EXPECT_EQ(plan->num_targets(), 1);
  EXPECT_EQ(plan->target_kind(), TargetKind::kClass);
  EXPECT_EQ(plan->output(), 5);
  EXPECT_EQ(plan->shape_of(0), (Shape{1, 4, 4}));
  EXPECT_EQ(plan->shape_of(5), (Shape{3}));
  EXPECT_THAT(plan->steps()[2].inputs, ElementsAre(1, 3));
  EXPECT_EQ(plan->steps()[3].first_parameter, 2);
  EXPECT_EQ(plan->steps()[3].num_parameters, 2);
  EXPECT_EQ(plan->layout(), *ParameterLayout::Create({{"conv.weight", {2, 1, 3, 3}},
                                                      {"conv.bias", {2}},
                                                      {"head.weight", {3, 9}},
                                                      {"head.bias", {3}}}));
  EXPECT_EQ(plan->multiply_adds(), 8 * 9 + 27);
  EXPECT_FALSE(plan->has_dropout());
  EXPECT_FALSE(plan->has_batch_norm());
  EXPECT_FALSE(plan->couples_examples());
}

TEST(GraphPlanTest, WritesDefaultsOut) {
  const StatusOr<GraphPlan> plan =
      Plan(GraphAround("convolution: {channels: 2, kernel: [3, 3]}", {{1, 4, 4}}));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const v1::GraphNode& node = plan->graph().nodes(0);

  EXPECT_THAT(node.convolution().stride(), ElementsAre(1, 1));
  EXPECT_THAT(node.convolution().padding(), ElementsAre(0, 0));
  EXPECT_THAT(node.convolution().dilation(), ElementsAre(1, 1));
  EXPECT_EQ(node.convolution().groups(), 1);
  EXPECT_EQ(node.weight_initializer(), v1::INITIALIZER_FAN_IN_UNIFORM);
  EXPECT_EQ(node.bias_initializer(), v1::INITIALIZER_FAN_IN_UNIFORM);
  EXPECT_EQ(plan->graph().loss().binary_cross_entropy().positive_weight(), 1);
}

TEST(GraphPlanTest, SeesDropout) {
  EXPECT_TRUE(Plan(GraphAround("dropout: {rate: 0.1}", {{2}}))->has_dropout());
  EXPECT_FALSE(Plan(GraphAround("dropout: {}", {{2}}))->has_dropout());
  EXPECT_TRUE(Plan(GraphAround("attention: {heads: 1, dropout: 0.1}", {{2, 2}}))->has_dropout());
  EXPECT_FALSE(Plan(GraphAround("attention: {heads: 1}", {{2, 2}}))->has_dropout());
}

TEST(GraphPlanTest, AcceptsTheSoundGraph) {
  EXPECT_THAT(ErrorAfter([](auto&) {}), IsEmpty());
}

TEST(GraphPlanTest, NamesWhatIsWrongWithNames) {
  const auto rename = [](const std::string& name) {
    return ErrorAfter([&](auto& g) {
      g.mutable_nodes(0)->set_name(name);
      g.set_output(name);
    });
  };

  EXPECT_THAT(rename("layer1.0.conv-1_A"), IsEmpty());
  EXPECT_THAT(rename(std::string(128, 'a')), IsEmpty());
  EXPECT_THAT(rename(std::string(129, 'a')),
              StartsWith("model.graph.nodes[0].name must be 1 to 128 characters"));
  EXPECT_THAT(rename(""), StartsWith("model.graph.nodes[0].name must be 1 to 128 characters"));
  EXPECT_THAT(rename("a b"), StartsWith("model.graph.nodes[0].name must be"));
  EXPECT_THAT(rename("a\x1b[2J"), StartsWith("model.graph.nodes[0].name must be"));
  EXPECT_EQ(rename("x"), "model.graph.nodes[0].name must be unique, got \"x\" again");
  EXPECT_THAT(ErrorAfter([](auto& g) { *g.add_inputs() = g.inputs(0); }),
              StartsWith("model.graph.inputs[1].name must be unique"));
}

TEST(GraphPlanTest, NamesWhatIsWrongWithInputs) {
  const auto with_shape = [](const std::vector<std::uint64_t>& shape) {
    return ErrorAfter(
        [&](auto& g) { g.mutable_inputs(0)->mutable_shape()->Assign(shape.begin(), shape.end()); });
  };

  EXPECT_THAT(with_shape({}), StartsWith("model.graph.inputs[0].shape must have 1 to 8 entries"));
  EXPECT_THAT(with_shape({1, 1, 1, 1, 1, 1, 1, 1, 1}),
              StartsWith("model.graph.inputs[0].shape must have 1 to 8 entries, got 9"));
  EXPECT_EQ(with_shape({0}),
            "model.graph.inputs[0].shape must be at least 1 along each axis, got [0]");
  EXPECT_THAT(with_shape({std::uint64_t{1} << 32}), IsEmpty());
  EXPECT_EQ(with_shape({(std::uint64_t{1} << 32) + 1}),
            "model.graph.inputs[0].shape would make the inputs over 2^32 numbers");
  EXPECT_THAT(ErrorAfter([](auto& g) { g.clear_inputs(); }),
              StartsWith("model.graph.inputs must have 1 to 64 entries, got 0"));
}

TEST(GraphPlanTest, ShowsUnitsThatCanBeShown) {
  const auto with_unit = [](const std::string& unit) {
    return ErrorAfter([&](auto& g) { g.mutable_inputs(0)->set_unit(unit); });
  };
  std::string micro;
  for (int i = 0; i < 64; ++i) micro += "\xc2\xb5";  // 64 characters of two bytes each.

  EXPECT_THAT(with_unit("mmol/l"), IsEmpty());
  EXPECT_THAT(with_unit(micro), IsEmpty());
  EXPECT_EQ(with_unit(micro + "g"),
            "model.graph.inputs[0].unit must have at most 64 characters, got 65");
  EXPECT_THAT(with_unit("\x1b[2J"), HasSubstr("must be text that can be shown"));
  EXPECT_THAT(with_unit("\xff"), HasSubstr("must be text that can be shown"));
}

TEST(GraphPlanTest, TakesInputsFromWhatCameBefore) {
  const auto with_input = [](const std::string& name) {
    return ErrorAfter([&](auto& g) { g.mutable_nodes(0)->set_inputs(0, name); });
  };

  EXPECT_EQ(with_input("z"),
            "model.graph.nodes[0].inputs[0] must name an input or an earlier node, got \"z\"");
  EXPECT_THAT(with_input("y"), HasSubstr("must name an input or an earlier node, got \"y\""));
  EXPECT_THAT(with_input("\x1b"), HasSubstr("got what cannot be a name"));
}

TEST(GraphPlanTest, RefusesForwardReferencesAndSoEveryCycle) {
  EXPECT_EQ(ErrorOf(GraphOf(R"(
inputs: [{name: x, shape: [3]}]
nodes:
  - {name: a, inputs: [x, b], add: {}}
  - {name: b, inputs: [a], linear: {units: 3}}
output: b
)")),
            "model.graph.nodes[0].inputs[1] must name an input or an earlier node, got \"b\"");
}

TEST(GraphPlanTest, RefusesANodeThatNothingUses) {
  EXPECT_EQ(ErrorOf(GraphOf(R"(
inputs: [{name: x, shape: [3]}]
nodes:
  - {name: a, inputs: [x], linear: {units: 3}}
  - {name: b, inputs: [x], linear: {units: 1}}
output: b
)")),
            "model.graph.nodes[0] (\"a\") must be the input of a later node, or the output");
}

TEST(GraphPlanTest, RefusesAnEmbeddingOfWhatIsLearned) {
  const auto embed = [](const std::string& source) {
    return ErrorOf(GraphOf(R"(
inputs: [{name: x, shape: [3]}]
nodes:
  - {name: a, inputs: [x], linear: {units: 3}}
  - {name: b, inputs: [a], activation: relu}
  - {name: e, inputs: [)" + source +
                           R"(], embedding: {rows: 5, width: 3}}
  - {name: s, inputs: [b, e], add: {}}
  - {name: f, inputs: [s], flatten: {}}
  - {name: h, inputs: [f], linear: {units: 1}}
output: h
)"));
  };

  EXPECT_THAT(embed("x"), IsEmpty());
  EXPECT_THAT(embed("b"), StartsWith("model.graph.nodes[2] (embedding) takes numbers of the "
                                     "inputs, not what earlier parameters made"));
}

TEST(GraphPlanTest, RefusesParametersOfOneName) {
  EXPECT_THAT(ErrorOf(GraphOf(R"(
inputs: [{name: x, shape: [3, 4]}]
nodes:
  - {name: a, inputs: [x], attention: {heads: 2}}
  - {name: a.out_proj, inputs: [a], linear: {units: 4}}
  - {name: flat, inputs: [a.out_proj], flatten: {}}
  - {name: head, inputs: [flat], linear: {units: 1}}
output: head
)")),
              HasSubstr("the name \"a.out_proj.weight\" occurs twice"));
}

TEST(GraphPlanTest, RefusesNothingToTrain) {
  EXPECT_EQ(ErrorAfter([](auto& g) { g.mutable_nodes(0)->mutable_flatten(); }),
            "model.graph must have parameters to train");
}

TEST(GraphPlanTest, RefusesFieldsOfALaterVersion) {
  EXPECT_EQ(ErrorAfter([](auto& g) {
              v1::Linear& linear = *g.mutable_nodes(0)->mutable_linear();
              linear.GetReflection()->MutableUnknownFields(&linear)->AddVarint(99, 1);
            }),
            "model.graph has fields that this version does not know");
}

struct LossCase {
  std::string name;
  std::string loss;
  Shape output;
  std::string error;  // Empty: sound.
  TargetKind kind = TargetKind::kBinary;
  std::uint64_t num_targets = 1;
};

void PrintTo(const LossCase& c, std::ostream* out) { *out << c.name; }

class LossTest : public ::testing::TestWithParam<LossCase> {};

TEST_P(LossTest, TakesOutputsOfItsShape) {
  const LossCase& c = GetParam();
  std::string shape;
  std::uint64_t size = 1;
  for (const std::uint64_t axis : c.output) {
    shape += (shape.empty() ? "" : ", ") + std::to_string(axis);
    size *= axis;
  }
  const StatusOr<GraphPlan> plan =
      Plan(GraphOf("inputs: [{name: x, shape: [2]}]\nnodes:\n"
                   "  - {name: a, inputs: [x], linear: {units: " +
                   std::to_string(size) +
                   "}}\n"
                   "  - {name: y, inputs: [a], reshape: {shape: [" +
                   shape + "]}}\noutput: y\nloss: {" + c.loss + "}\n"));

  if (!c.error.empty()) {
    ASSERT_FALSE(plan.ok());
    EXPECT_THAT(MessageOf(plan.status()), StartsWith("model.graph." + c.error));
    return;
  }
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->num_outputs(), size);
  EXPECT_EQ(plan->target_kind(), c.kind);
  EXPECT_EQ(plan->num_targets(), c.num_targets);
}

INSTANTIATE_TEST_SUITE_P(
    Losses, LossTest,
    ::testing::Values(
        LossCase{"Binary", "binary_cross_entropy: {}", {1}, "", TargetKind::kBinary, 1},
        LossCase{"Labels", "binary_cross_entropy: {}", {4}, "", TargetKind::kBinary, 4},
        LossCase{"Mask", "binary_cross_entropy: {}", {1, 3, 2}, "", TargetKind::kMask, 6},
        LossCase{"TwoMasks",
                 "binary_cross_entropy: {}",
                 {2, 3, 2},
                 "output must be a node of shape [outputs] or [1, height, width], as its loss "
                 "takes, got [2, 3, 2]"},
        LossCase{"BinaryRows", "binary_cross_entropy: {}", {2, 3}, "output must be a node"},
        LossCase{"PositiveWeight", "binary_cross_entropy: {positive_weight: 1000000}", {1}, ""},
        LossCase{"PositiveWeightLarge",
                 "binary_cross_entropy: {positive_weight: 1000001}",
                 {1},
                 "loss.binary_cross_entropy.positive_weight must be above 0 and at most 1e6"},
        LossCase{"PositiveWeightNegative",
                 "binary_cross_entropy: {positive_weight: -1}",
                 {1},
                 "loss.binary_cross_entropy.positive_weight must be above 0"},
        LossCase{"Classes",
                 "cross_entropy: {num_classes: 3, class_weights: [0, 1, 2.5]}",
                 {3},
                 "",
                 TargetKind::kClass,
                 1},
        LossCase{"ClassesWide",
                 "cross_entropy: {num_classes: 3}",
                 {4},
                 "output must be a node of shape [3], as its loss takes, got [4]"},
        LossCase{"ClassesMask",
                 "cross_entropy: {num_classes: 6}",
                 {1, 3, 2},
                 "output must be a node of shape [6]"},
        LossCase{"OneClass",
                 "cross_entropy: {num_classes: 1}",
                 {1},
                 "loss.cross_entropy.num_classes must be in [2, 65536], got 1"},
        LossCase{"ManyClasses",
                 "cross_entropy: {num_classes: 65537}",
                 {1},
                 "loss.cross_entropy.num_classes must be in [2, 65536], got 65537"},
        LossCase{"FewWeights",
                 "cross_entropy: {num_classes: 3, class_weights: [1, 2]}",
                 {3},
                 "loss.cross_entropy.class_weights must be one for each of 3 classes, got 2"},
        LossCase{"NegativeWeight",
                 "cross_entropy: {num_classes: 2, class_weights: [1, -1]}",
                 {2},
                 "loss.cross_entropy.class_weights[1] must be at least 0 and finite, got -1"},
        LossCase{"NoWeight",
                 "cross_entropy: {num_classes: 2, class_weights: [0, 0]}",
                 {2},
                 "loss.cross_entropy.class_weights must not all be 0"},
        LossCase{"Squares", "mean_squared_error: {}", {3}, "", TargetKind::kNumber, 3},
        LossCase{"SquaresOfMask",
                 "mean_squared_error: {}",
                 {1, 2, 2},
                 "output must be a node of shape [outputs], as its loss takes, got [1, 2, 2]"},
        LossCase{"Huber", "huber: {delta: 2}", {1}, "", TargetKind::kNumber, 1},
        LossCase{"HuberNegative",
                 "huber: {delta: -2}",
                 {1},
                 "loss.huber.delta must be above 0 and finite, got -2"},
        LossCase{"Poisson", "poisson: {}", {1}, "", TargetKind::kNumber, 1},
        LossCase{"PoissonTwo", "poisson: {}", {2}, "output must be a node of shape [1]"},
        LossCase{"Cox", "cox: {ties: breslow}", {1}, "", TargetKind::kSurvival, 2},
        LossCase{"CoxTwo", "cox: {}", {2}, "output must be a node of shape [1]"},
        LossCase{"Intervals",
                 "discrete_survival: {interval_ends: [1, 2.5]}",
                 {2},
                 "",
                 TargetKind::kSurvival,
                 2},
        LossCase{"IntervalsWide",
                 "discrete_survival: {interval_ends: [1, 2.5]}",
                 {3},
                 "output must be a node of shape [2]"},
        LossCase{"IntervalsNone",
                 "discrete_survival: {}",
                 {1},
                 "loss.discrete_survival.interval_ends must be 1 to 256 times, got 0"},
        LossCase{"IntervalsAtZero",
                 "discrete_survival: {interval_ends: [0, 1]}",
                 {2},
                 "loss.discrete_survival.interval_ends[0] must be above 0 and finite, got 0"},
        LossCase{"IntervalsEqual",
                 "discrete_survival: {interval_ends: [1, 1]}",
                 {2},
                 "loss.discrete_survival.interval_ends[1] must be above 1 and finite, got 1"},
        LossCase{"NoKind", "", {1}, "loss must name a loss: binary_cross_entropy, cross_entropy"}),
    [](const auto& test) { return test.param.name; });

TEST(GraphPlanTest, MeansBinaryCrossEntropyWithoutALoss) {
  v1::ModelGraph graph = SoundGraph();
  graph.clear_loss();

  EXPECT_TRUE(Plan(graph)->graph().loss().has_binary_cross_entropy());
}

// Values that no YAML file can hold, and a message can.
TEST(GraphPlanTest, RefusesLossesWithNumbersThatAreNone) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto error = [](auto set) { return ErrorAfter([&](auto& g) { set(*g.mutable_loss()); }); };

  EXPECT_THAT(
      error([](v1::Loss& l) { l.mutable_binary_cross_entropy()->set_positive_weight(kNan); }),
      StartsWith("model.graph.loss.binary_cross_entropy.positive_weight must be above 0"));
  EXPECT_THAT(error([](v1::Loss& l) { l.mutable_huber()->set_delta(kNan); }),
              StartsWith("model.graph.loss.huber.delta must be above 0 and finite, got nan"));
  EXPECT_THAT(error([](v1::Loss& l) { l.mutable_huber()->set_delta(kInfinity); }),
              StartsWith("model.graph.loss.huber.delta must be above 0 and finite, got inf"));
  for (const double weight : {kNan, kInfinity}) {
    EXPECT_THAT(error([&](v1::Loss& l) {
                  l.mutable_cross_entropy()->set_num_classes(2);
                  l.mutable_cross_entropy()->add_class_weights(1);
                  l.mutable_cross_entropy()->add_class_weights(weight);
                }),
                StartsWith("model.graph.loss.cross_entropy.class_weights[1] must be at least 0"));
    EXPECT_THAT(
        error([&](v1::Loss& l) { l.mutable_discrete_survival()->add_interval_ends(weight); }),
        StartsWith("model.graph.loss.discrete_survival.interval_ends[0] must be above 0"));
  }
}

TEST(GraphPlanTest, RefusesAnUnknownKindOfTies) {
  EXPECT_EQ(ErrorAfter([](auto& g) {
              g.mutable_loss()->mutable_cox()->set_ties(static_cast<v1::CoxTies>(9));
            }),
            "model.graph.loss.cox.ties must be efron or breslow");
}

TEST(GraphPlanTest, CouplesTheExamplesOfARiskSet) {
  v1::ModelGraph graph = SoundGraph();
  graph.mutable_loss()->mutable_cox();

  EXPECT_TRUE(Plan(graph)->couples_examples());
}

TEST(GraphPlanTest, TakesANodeForItsOutput) {
  EXPECT_EQ(ErrorAfter([](auto& g) { g.clear_output(); }), "model.graph.output must name a node");
  EXPECT_EQ(ErrorAfter([](auto& g) { g.set_output("x"); }), "model.graph.output must name a node");
  EXPECT_EQ(ErrorAfter([](auto& g) { g.set_output("z"); }), "model.graph.output must name a node");
}

TEST(GraphPlanTest, TellsWhereEachValueIsReadLast) {
  const StatusOr<GraphPlan> plan = Plan(GraphOf(R"(
inputs:
  - {name: x, shape: [3]}
nodes:
  - {name: a, inputs: [x], linear: {units: 3}}
  - {name: b, inputs: [a], activation: relu}
  - {name: c, inputs: [b, x], add: {}}
  - {name: y, inputs: [c], linear: {units: 1}}
output: y
)"));
  ASSERT_TRUE(plan.ok()) << plan.status();

  // Values: x, a, b, c, y. The output is never let go.
  const std::vector<std::vector<std::size_t>> expected = {{}, {1}, {0, 2}, {3}};
  EXPECT_EQ(plan->ReleasesByStep(), expected);
}

}  // namespace
}  // namespace chorale::models
