#include "models/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/models/toy_graphs.h"
#include "tests/models/zoo_specs.h"

namespace chorale::models {
namespace {

v1::ModelSpec GraphSpec() {
  v1::ModelSpec spec;
  *spec.mutable_graph() = SoundGraph();
  return spec;
}

TEST(ModelTest, NamesEveryKind) {
  EXPECT_EQ(KindName(SpecOf("logistic_regression: {}")), "logistic_regression");
  EXPECT_EQ(KindName(SpecOf("cnn2d: {}")), "cnn2d");
  EXPECT_EQ(KindName(GraphSpec()), "graph");
  EXPECT_EQ(KindName({}), "");
}

TEST(ModelTest, RefusesASpecificationWithoutAKind) {
  const std::string error =
      "model must be one of logistic_regression, mlp, linear_regression, poisson_regression, cox, "
      "discrete_survival, tabular_resnet, ft_transformer, gru, cnn1d, cnn2d, resnet18_gn, unet2d, "
      "graph";

  EXPECT_EQ(MessageOf(Validate({}, "model")), error);
  EXPECT_EQ(MessageOf(PlanOf({}, 3).status()), error);
}

TEST(ModelTest, ChecksAGraphBelowItsField) {
  v1::ModelSpec spec = GraphSpec();
  EXPECT_TRUE(Validate(spec, "model").ok());
  EXPECT_TRUE(PlanOf(spec, 3).ok());
  spec.mutable_graph()->set_output("z");

  EXPECT_EQ(MessageOf(Validate(spec, "spec.model")), "spec.model.graph.output must name a node");
  EXPECT_EQ(MessageOf(PlanOf(spec, 3).status()), "model.graph.output must name a node");
}

TEST(ModelTest, RefusesAGraphForOtherInputs) {
  EXPECT_EQ(MessageOf(PlanOf(GraphSpec(), 4).status()),
            "model.graph.inputs must take as many numbers as an example has (4), got 3");
}

TEST(ModelTest, SurvivesTheWireAsLayout) {
  const ParameterLayout layout =
      PlanOf(SpecOf("mlp: {hidden_units: [3, 2], activation: relu}"), 5)->layout();

  const StatusOr<ParameterLayout> back = FromProto(ToProto(layout));

  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, layout);
}

TEST(ModelTest, RefusesUnsoundLayoutsFromTheWire) {
  const auto is_ok = [](auto spoil) {
    v1::ParameterLayout layout = ToProto(PlanOf(SpecOf("logistic_regression: {}"), 3)->layout());
    spoil(layout);
    return FromProto(layout).ok();
  };

  EXPECT_TRUE(is_ok([](auto&) {}));
  EXPECT_FALSE(is_ok([](auto& l) { l.clear_tensors(); }));
  EXPECT_FALSE(is_ok([](auto& l) { l.mutable_tensors(0)->clear_name(); }));
  EXPECT_FALSE(is_ok([](auto& l) { l.mutable_tensors(0)->set_name("../x"); }));
  EXPECT_FALSE(is_ok([](auto& l) { l.mutable_tensors(0)->set_name("linear.bias"); }));
  EXPECT_FALSE(is_ok([](auto& l) { l.mutable_tensors(0)->set_shape(1, 0); }));
  EXPECT_FALSE(is_ok([](auto& l) { l.mutable_tensors(0)->set_shape(1, ~std::uint64_t{0}); }));
  EXPECT_FALSE(is_ok([](auto& l) {
    for (int i = 0; i < 8; ++i) l.mutable_tensors(0)->add_shape(1);
  }));
}

}  // namespace
}  // namespace chorale::models
