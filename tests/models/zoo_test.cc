#include "models/zoo.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "models/model.h"
#include "tests/models/zoo_specs.h"

namespace chorale::models {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

GraphPlan PlanFor(const std::string& yaml, std::uint64_t num_inputs) {
  StatusOr<GraphPlan> plan = PlanOf(SpecOf(yaml), num_inputs);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *std::move(plan);
}

std::vector<std::string> NamesOf(const GraphPlan& plan) {
  std::vector<std::string> names;
  for (const GraphParameter& parameter : plan.parameters()) names.push_back(parameter.name);
  return names;
}

std::string ErrorOf(const std::string& yaml, std::uint64_t num_inputs = 12) {
  const Status status = PlanOf(SpecOf(yaml), num_inputs).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << yaml;
  return MessageOf(status);
}

TEST(ZooTest, HasAnExampleOfEveryKind) {
  std::set<std::string> names;
  for (const ZooSpec& zoo : ZooSpecs()) {
    EXPECT_EQ(KindName(SpecOf(zoo.yaml)), zoo.name);
    names.insert(zoo.name);
  }
  const auto& kinds = *v1::ModelSpec::descriptor()->FindOneofByName("kind");
  std::set<std::string> wanted;
  for (int i = 0; i < kinds.field_count(); ++i) wanted.insert(kinds.field(i)->name());
  wanted.erase("graph");

  EXPECT_EQ(names, wanted);
}

TEST(ZooTest, ExpandsToSoundGraphs) {
  for (const ZooSpec& zoo : ZooSpecs()) {
    SCOPED_TRACE(zoo.name);
    const GraphPlan plan = PlanFor(zoo.yaml, zoo.num_inputs);

    EXPECT_TRUE(Validate(SpecOf(zoo.yaml), "model").ok());
    EXPECT_EQ(plan.num_inputs(), zoo.num_inputs);
    // What is written out as a graph is the same model.
    v1::ModelSpec as_graph;
    *as_graph.mutable_graph() = plan.graph();
    EXPECT_EQ(PlanOf(as_graph, zoo.num_inputs)->digest(), plan.digest());
    EXPECT_EQ(PlanOf(as_graph, zoo.num_inputs + 1).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(ErrorOf(zoo.yaml, 0), "model must have at least 1 input, got 0");
  }
}

// Worked out by hand; resnet18_gn from torchvision's 11689512 for 1000 classes of 3 channels:
// without its fc (513000) and with the small stem (1728 weights in the place of 9408), then 513.
TEST(ZooTest, HasAsManyParametersAsItsLayersMake) {
  const std::map<std::string, std::uint64_t> wanted{
      {"logistic_regression", 14},
      {"mlp", 14 * 16 + 17 * 8 + 9},
      {"linear_regression", 14},
      {"poisson_regression", 14},
      {"cox", 13},
      {"discrete_survival", 5 * 8 + 9 * 5},
      {"tabular_resnet", 11 * 64 + 2 * (128 + 65 * 128 + 129 * 64) + 128 + 65},
      {"ft_transformer",
       32 + 2 * 320 + 2 * (64 + 33 * 96 + 33 * 32 + 64 + 33 * 64 + 65 * 32) + 64 + 33},
      {"gru", 3 * 32 * (5 + 32 + 2) + 33},
      {"cnn1d", 16 * 6 + 32 * (16 * 5 + 1) + 33},
      {"cnn2d", 16 * 10 + 32 * (16 * 9 + 1) + 64 * (32 * 49 + 1) + 65},
      {"resnet18_gn", 11689512 - 513000 - 9408 + 1728 + 513},
      {"unet2d", 450897},
  };
  for (const ZooSpec& zoo : ZooSpecs()) {
    EXPECT_EQ(PlanFor(zoo.yaml, zoo.num_inputs).layout().num_parameters(), wanted.at(zoo.name))
        << zoo.name;
  }
}

TEST(ZooTest, KeepsTheNamesOfLinearModels) {
  EXPECT_EQ(PlanFor("logistic_regression: {}", 13).layout(),
            *ParameterLayout::Create({{"linear.weight", {1, 13}}, {"linear.bias", {1}}}));
  EXPECT_THAT(NamesOf(PlanFor("cox: {}", 3)), ElementsAre("linear.weight"));
}

TEST(ZooTest, KeepsTheNamesOfAnMlp) {
  EXPECT_EQ(PlanFor("mlp: {hidden_units: [16, 8], activation: tanh}", 13).layout(),
            *ParameterLayout::Create({{"layers.0.weight", {16, 13}},
                                      {"layers.0.bias", {16}},
                                      {"layers.1.weight", {8, 16}},
                                      {"layers.1.bias", {8}},
                                      {"layers.2.weight", {1, 8}},
                                      {"layers.2.bias", {1}}}));
}

TEST(ZooTest, NamesAGruAsPyTorchDoes) {
  EXPECT_EQ(PlanFor("gru: {steps: 12, hidden: 6}", 60).layout(),
            *ParameterLayout::Create({{"gru.weight_ih_l0", {18, 5}},
                                      {"gru.weight_hh_l0", {18, 6}},
                                      {"gru.bias_ih_l0", {18}},
                                      {"gru.bias_hh_l0", {18}},
                                      {"head.weight", {1, 6}},
                                      {"head.bias", {1}}}));
}

TEST(ZooTest, NamesAResnetAsTorchvisionDoes) {
  std::vector<std::string> wanted{"conv1.weight", "bn1.weight", "bn1.bias"};
  for (const std::string layer : {"layer1.", "layer2.", "layer3.", "layer4."}) {
    for (const std::string block : {"0.", "1."}) {
      for (const char* tensor :
           {"conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias"}) {
        wanted.push_back(layer + block + tensor);
      }
      if (layer == "layer1." || block == "1.") continue;
      for (const char* tensor :
           {"downsample.0.weight", "downsample.1.weight", "downsample.1.bias"}) {
        wanted.push_back(layer + block + tensor);
      }
    }
  }
  wanted.insert(wanted.end(), {"fc.weight", "fc.bias"});

  EXPECT_EQ(NamesOf(PlanFor("resnet18_gn: {image: {height: 28, width: 28}}", 784)), wanted);
}

TEST(ZooTest, NamesABlockOfATransformerAsPyTorchDoes) {
  const std::vector<std::string> names = NamesOf(PlanFor("ft_transformer: {blocks: 1}", 4));

  EXPECT_THAT(
      names,
      ElementsAre("class_token.weight", "tokens.scale.weight", "tokens.shift.weight",
                  "blocks.0.norm1.weight", "blocks.0.norm1.bias",
                  "blocks.0.self_attn.in_proj_weight", "blocks.0.self_attn.in_proj_bias",
                  "blocks.0.self_attn.out_proj.weight", "blocks.0.self_attn.out_proj.bias",
                  "blocks.0.norm2.weight", "blocks.0.norm2.bias", "blocks.0.linear1.weight",
                  "blocks.0.linear1.bias", "blocks.0.linear2.weight", "blocks.0.linear2.bias",
                  "norm.weight", "norm.bias", "head.weight", "head.bias"));
}

// The stem keeps 64 pixels and quarters more; the last stage has an eighth of that.
TEST(ZooTest, ShrinksLargeImagesInTheStem) {
  const GraphPlan small = PlanFor("resnet18_gn: {image: {height: 64, width: 64}}", 64 * 64);
  const GraphPlan large = PlanFor("resnet18_gn: {image: {height: 65, width: 64}}", 65 * 64);
  const auto shape_before = [](const GraphPlan& plan, const std::string& name) {
    for (int i = 0; i < plan.graph().nodes_size(); ++i) {
      if (plan.graph().nodes(i).name() != name) continue;
      return plan.shape_of(plan.steps()[static_cast<std::size_t>(i)].inputs[0]);
    }
    return Shape{};
  };

  EXPECT_EQ(shape_before(small, "avgpool"), (Shape{512, 8, 8}));
  EXPECT_EQ(shape_before(large, "avgpool"), (Shape{512, 3, 2}));
  EXPECT_EQ(shape_before(large, "layer1.0.conv1"), (Shape{64, 17, 16}));
}

TEST(ZooTest, GivesAUnetALogitForEachPixel) {
  const GraphPlan plan = PlanFor("unet2d: {image: {channels: 2, height: 16, width: 24}}", 768);

  EXPECT_EQ(plan.target_kind(), TargetKind::kMask);
  EXPECT_EQ(plan.shape_of(plan.output()), (Shape{1, 16, 24}));
}

TEST(ZooTest, HasAnOutputForEachThingTheLossAsks) {
  const std::string classes = ", loss: {cross_entropy: {num_classes: 7}}}";
  for (const std::string& spec :
       {std::string("mlp: {hidden_units: [3], activation: relu"),
        std::string("tabular_resnet: {width: 8"), std::string("ft_transformer: {width: 8"),
        std::string("gru: {steps: 3"), std::string("cnn1d: {channels: 1"),
        std::string("cnn2d: {image: {channels: 3, height: 4, width: 4}"),
        std::string("resnet18_gn: {image: {channels: 3, height: 4, width: 4}")}) {
    EXPECT_EQ(PlanFor(spec + classes, 48).num_outputs(), 7) << spec;
    EXPECT_EQ(PlanFor(spec + "}", 48).num_outputs(), 1) << spec;
  }
}

TEST(ZooTest, HasDropoutWhereItIsAskedFor) {
  for (const std::string& spec :
       {std::string("mlp: {hidden_units: [3], activation: relu"),
        std::string("tabular_resnet: {width: 8"), std::string("ft_transformer: {width: 8")}) {
    EXPECT_FALSE(PlanFor(spec + "}", 3).has_dropout()) << spec;
    EXPECT_TRUE(PlanFor(spec + ", dropout: 0.2}", 3).has_dropout()) << spec;
    EXPECT_THAT(ErrorOf(spec + ", dropout: 1}"), HasSubstr(".dropout must be in [0, 1), got 1"));
    EXPECT_THAT(ErrorOf(spec + ", loss: {huber: {delta: -1}}}"),
                HasSubstr(".loss.huber.delta must be above 0"));
  }
}

TEST(ZooTest, RefusesSizesOutOfBounds) {
  EXPECT_THAT(ErrorOf("mlp: {activation: relu}"),
              StartsWith("model.mlp.hidden_units must have 1 to 8 layers, got 0"));
  EXPECT_THAT(ErrorOf("mlp: {hidden_units: [1, 1, 1, 1, 1, 1, 1, 1, 1], activation: relu}"),
              StartsWith("model.mlp.hidden_units must have 1 to 8 layers, got 9"));
  EXPECT_THAT(ErrorOf("mlp: {hidden_units: [4, 0], activation: relu}"),
              StartsWith("model.mlp.hidden_units[1] must be in [1, 65536], got 0"));
  EXPECT_THAT(ErrorOf("mlp: {hidden_units: [4]}"),
              StartsWith("model.mlp.activation must be relu, tanh, gelu or silu"));
  EXPECT_THAT(ErrorOf("mlp: {hidden_units: [4], activation: softmax}"),
              StartsWith("model.mlp.activation must be relu, tanh, gelu or silu"));
  EXPECT_THAT(ErrorOf("discrete_survival: {interval_ends: [2, 1]}"),
              StartsWith("model.discrete_survival.interval_ends[1] must be above 2"));
  EXPECT_THAT(ErrorOf("tabular_resnet: {width: 4097}"),
              StartsWith("model.tabular_resnet.width must be in [1, 4096], got 4097"));
  EXPECT_THAT(ErrorOf("tabular_resnet: {blocks: 33}"), HasSubstr("must be in [1, 32], got 33"));
  EXPECT_THAT(ErrorOf("tabular_resnet: {hidden_width: 16385}"), HasSubstr("got 16385"));
  EXPECT_THAT(ErrorOf("ft_transformer: {width: 30}"),
              StartsWith("model.ft_transformer.width must be a multiple of heads (4), got 30"));
  EXPECT_THAT(ErrorOf("ft_transformer: {width: 1028}"), HasSubstr("must be in [1, 1024]"));
  EXPECT_THAT(ErrorOf("ft_transformer: {heads: 65}"), HasSubstr("must be in [1, 64], got 65"));
  EXPECT_THAT(ErrorOf("ft_transformer: {blocks: 17}"), HasSubstr("must be in [1, 16], got 17"));
}

TEST(ZooTest, RefusesSeriesThatTheInputsDoNotMake) {
  EXPECT_THAT(ErrorOf("gru: {}"), StartsWith("model.gru.steps must be at least 1, got 0"));
  EXPECT_EQ(ErrorOf("gru: {steps: 5}"),
            "model.gru.steps must divide the number of inputs (12), got 5");
  EXPECT_THAT(ErrorOf("gru: {steps: 4, hidden: 4097}"), HasSubstr("must be in [1, 4096]"));
  EXPECT_THAT(ErrorOf("gru: {steps: 4, layers: 9}"), HasSubstr("must be in [1, 8], got 9"));
  EXPECT_EQ(ErrorOf("cnn1d: {channels: 5}"),
            "model.cnn1d.channels must divide the number of inputs (12), got 5");
  EXPECT_THAT(ErrorOf("cnn1d: {kernel: 4}"), HasSubstr("must be odd and in [1, 63], got 4"));
  EXPECT_THAT(ErrorOf("cnn1d: {kernel: 65}"), HasSubstr("must be odd and in [1, 63], got 65"));
  EXPECT_THAT(ErrorOf("cnn1d: {filters: [4097]}"), HasSubstr("must be in [1, 4096]"));
  // 12, 6, 3, 1: the fourth convolution has one step left, a fifth would have none.
  EXPECT_EQ(PlanFor("cnn1d: {filters: [1, 1, 1, 1]}", 12).num_outputs(), 1);
  EXPECT_EQ(ErrorOf("cnn1d: {filters: [1, 1, 1, 1, 1]}"),
            "model.cnn1d.filters must be few enough to halve 12 steps between any two, got 5");
}

TEST(ZooTest, RefusesImagesThatTheInputsDoNotMake) {
  EXPECT_EQ(ErrorOf("cnn2d: {image: {height: 4, width: 4}}"),
            "model.cnn2d.image must be as many numbers as an example has (12), got 16");
  EXPECT_THAT(ErrorOf("cnn2d: {}"),
              StartsWith("model.cnn2d.image.height must be in [1, 4096], got 0"));
  EXPECT_THAT(ErrorOf("cnn2d: {image: {height: 4, width: 4097}}"), HasSubstr("got 4097"));
  EXPECT_THAT(ErrorOf("cnn2d: {image: {channels: 65, height: 4, width: 4}}"),
              StartsWith("model.cnn2d.image.channels must be in [1, 64], got 65"));
  EXPECT_THAT(ErrorOf("cnn2d: {image: {height: 4, width: 3}}", 12),
              StartsWith("model.cnn2d.filters must be few enough to halve 3 pixels after each"));
  EXPECT_THAT(ErrorOf("cnn2d: {image: {height: 4, width: 4}, hidden: 65537}"),
              HasSubstr("must be in [1, 65536]"));
  EXPECT_EQ(ErrorOf("resnet18_gn: {image: {height: 4, width: 4}, groups: 3}"),
            "model.resnet18_gn.groups must divide the width (64), got 3");
  EXPECT_THAT(ErrorOf("resnet18_gn: {image: {height: 4, width: 4}, width: 513}"),
              StartsWith("model.resnet18_gn.width must be in [8, 512], got 513"));
  EXPECT_EQ(ErrorOf("unet2d: {image: {height: 8, width: 12}}"),
            "model.unet2d.image.width must be a multiple of 2^depth (8), got 12");
  EXPECT_THAT(ErrorOf("unet2d: {image: {height: 8, width: 8}, width: 12}"),
              StartsWith("model.unet2d.width must be a multiple of 8, got 12"));
  EXPECT_THAT(ErrorOf("unet2d: {image: {height: 8, width: 8}, depth: 7}"),
              StartsWith("model.unet2d.depth must be in [1, 6], got 7"));
}

TEST(ZooTest, RefusesAnUnknownKindOfTies) {
  v1::ModelSpec spec;
  spec.mutable_cox()->set_ties(static_cast<v1::CoxTies>(9));

  EXPECT_EQ(MessageOf(Validate(spec, "model")), "model.cox.ties must be efron or breslow");
}

TEST(ZooTest, TellsSizesThatAreTooMuchTogether) {
  EXPECT_THAT(
      ErrorOf("mlp: {hidden_units: [65536], activation: relu}", std::uint64_t{1} << 31),
      StartsWith("model.mlp cannot be made for 2147483648 inputs: graph.nodes[0] would make "
                 "the model over 2^36 parameters"));
  EXPECT_THAT(ErrorOf("logistic_regression: {}", ~std::uint64_t{0}),
              StartsWith("model.logistic_regression cannot be made for 18446744073709551615"));
}

TEST(ZooTest, PlansTheLargestMlpWithoutAllocatingIt) {
  const GraphPlan plan = PlanFor(
      "mlp: {hidden_units: [65536, 65536, 65536, 65536, 65536, 65536, 65536, 65536], activation: "
      "relu}",
      65536);

  EXPECT_GT(plan.layout().num_parameters(), std::uint64_t{1} << 35);
}

// Sites approve digests: they stay as they are from version to version.
TEST(ZooTest, HasKnownDigests) {
  const std::map<std::string, std::string> wanted{
      {"logistic_regression", "9ffac6424e0beb8b1eda850b5e7787c77305d3c73ae92f639fb8d8c9fd528ae6"},
      {"mlp", "fd47e661ac9908a987f8aee3031f5ca9f5e53b928b01943cd70a14a8ab155689"},
      {"linear_regression", "35bb48146748f4cf7edbc6b51a57b79494d316fc138a82a8bcd62e25e4ce4a47"},
      {"poisson_regression", "88bfbba6d1b7957f2577216dd336b18bc3f66e46b111c03a2f82f8dfe399f9a5"},
      {"cox", "c2778f64fd74122a050210fe17fad2af3028c45f877051cb5634f3ee389e137b"},
      {"discrete_survival", "2234a3ddf0d8e01ef73b2c1e904ea4231870946c709bf116997cb1bc5de9b3ec"},
      {"tabular_resnet", "ff5b77ab71d4fb561566c97b47c0d964aad4d996d46e12e95ccee91e4eb2d035"},
      {"ft_transformer", "921229eae4f20e762d13e34f687c330981cffc5b1ddce504ce972662c16c0105"},
      {"gru", "85f561871de1950d108e339dbcbe9e9e9751107e238927f32efb185ef2ef416d"},
      {"cnn1d", "486ed0bb6e7b654b462fd162d123a819eb52910dd5085a2f69f61838a585e509"},
      {"cnn2d", "724e6ff175cc080d15b6f91e81af1a94c07ad5ea3930ebe7bc7be09233c0d622"},
      {"resnet18_gn", "91623efb12b48d2736bfa9a0937d234c6b0eda4766a895a14544d15487dbde0e"},
      {"unet2d", "7889ebd94b34a6de91e33daec27c4f9bb42c698b4356fc766223f5ab123f786c"},
  };
  for (const ZooSpec& zoo : ZooSpecs()) {
    EXPECT_EQ(ToHex(PlanFor(zoo.yaml, zoo.num_inputs).digest()), wanted.at(zoo.name)) << zoo.name;
  }
}

}  // namespace
}  // namespace chorale::models
