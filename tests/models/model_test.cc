#include "models/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace chorale::models {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::ModelSpec LogisticRegression() {
  v1::ModelSpec spec;
  spec.mutable_logistic_regression();
  return spec;
}

v1::ModelSpec Mlp(const std::vector<std::uint32_t>& hidden_units) {
  v1::ModelSpec spec;
  for (const std::uint32_t units : hidden_units) spec.mutable_mlp()->add_hidden_units(units);
  spec.mutable_mlp()->set_activation(v1::ACTIVATION_RELU);
  return spec;
}

std::string ErrorOf(const v1::ModelSpec& spec) {
  const Status status = Validate(spec, "model");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(LayoutOf(spec, 3).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(InitialParameters(spec, 3, 1).status().code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

TEST(ModelTest, NamesEveryKind) {
  EXPECT_EQ(KindName(LogisticRegression()), "logistic_regression");
  EXPECT_EQ(KindName(Mlp({4})), "mlp");
  EXPECT_EQ(KindName({}), "");
}

TEST(ModelTest, AcceptsTheBounds) {
  EXPECT_TRUE(Validate(LogisticRegression(), "model").ok());
  EXPECT_TRUE(Validate(Mlp({1}), "model").ok());
  EXPECT_TRUE(Validate(Mlp(std::vector<std::uint32_t>(8, 65536)), "model").ok());
}

TEST(ModelTest, NamesTheFieldOfEveryBrokenRule) {
  v1::ModelSpec no_activation = Mlp({4});
  no_activation.mutable_mlp()->clear_activation();
  v1::ModelSpec unknown_activation = Mlp({4});
  unknown_activation.mutable_mlp()->set_activation(static_cast<v1::Activation>(99));

  EXPECT_THAT(ErrorOf({}), HasSubstr("model must be logistic_regression or mlp"));
  EXPECT_THAT(ErrorOf(Mlp({})), HasSubstr("model.mlp.hidden_units must have 1 to 8"));
  EXPECT_THAT(ErrorOf(Mlp(std::vector<std::uint32_t>(9, 4))), HasSubstr("got 9"));
  EXPECT_THAT(ErrorOf(Mlp({4, 0})),
              HasSubstr("model.mlp.hidden_units[1] must be in [1, 65536], got 0"));
  EXPECT_THAT(ErrorOf(Mlp({65537})), HasSubstr("got 65537"));
  EXPECT_THAT(ErrorOf(no_activation), HasSubstr("model.mlp.activation"));
  EXPECT_THAT(ErrorOf(unknown_activation), HasSubstr("model.mlp.activation"));
}

TEST(ModelTest, LaysOutALogisticRegression) {
  const StatusOr<ParameterLayout> layout = LayoutOf(LogisticRegression(), 13);

  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(*layout, *ParameterLayout::Create({{"linear.weight", {1, 13}}, {"linear.bias", {1}}}));
}

TEST(ModelTest, LaysOutAnMlpLayerByLayer) {
  const StatusOr<ParameterLayout> layout = LayoutOf(Mlp({16, 8}), 13);

  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(*layout, *ParameterLayout::Create({{"layers.0.weight", {16, 13}},
                                               {"layers.0.bias", {16}},
                                               {"layers.1.weight", {8, 16}},
                                               {"layers.1.bias", {8}},
                                               {"layers.2.weight", {1, 8}},
                                               {"layers.2.bias", {1}}}));
}

TEST(ModelTest, RefusesNoInputsAndSizesBeyondBounds) {
  EXPECT_FALSE(LayoutOf(LogisticRegression(), 0).ok());
  EXPECT_FALSE(LayoutOf(Mlp({65536}), std::uint64_t{1} << 60).ok());
  EXPECT_FALSE(LayoutOf(LogisticRegression(), ~std::uint64_t{0}).ok());
}

TEST(ModelTest, LaysOutTheLargestMlpWithoutAllocatingIt) {
  const StatusOr<ParameterLayout> layout =
      LayoutOf(Mlp(std::vector<std::uint32_t>(8, 65536)), 65536);

  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_GT(layout->num_parameters(), std::uint64_t{1} << 35);
}

TEST(ModelTest, StartsALogisticRegressionAtZero) {
  const StatusOr<ParameterVector> values = InitialParameters(LogisticRegression(), 3, 42);

  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_THAT(*values, ElementsAre(0, 0, 0, 0));
}

TEST(ModelTest, StartsAnMlpWithinTheBoundOfEachLayer) {
  const StatusOr<ParameterLayout> layout = LayoutOf(Mlp({64, 16}), 4);
  const StatusOr<ParameterVector> values = InitialParameters(Mlp({64, 16}), 4, 42);
  ASSERT_TRUE(layout.ok() && values.ok());
  ASSERT_EQ(values->size(), layout->num_parameters());

  const auto largest = [&](std::size_t tensor) {
    const TensorLayout& place = layout->tensors()[tensor];
    float most = 0;
    for (std::uint64_t i = 0; i < place.size; ++i) {
      most = std::max(most, std::abs((*values)[place.offset + i]));
    }
    return most;
  };

  // The largest of many uniform values lies just under the bound 1/sqrt(in).
  EXPECT_LE(largest(0), 0.5F);
  EXPECT_GT(largest(0), 0.45F);
  EXPECT_LE(largest(1), 0.5F);
  EXPECT_GT(largest(1), 0.4F);
  EXPECT_LE(largest(2), 0.125F);
  EXPECT_GT(largest(2), 0.12F);
  EXPECT_LE(largest(4), 0.25F);
}

TEST(ModelTest, StartsTheSameForTheSameSeedAlone) {
  const auto start = [](std::uint64_t seed) { return *InitialParameters(Mlp({8}), 5, seed); };

  EXPECT_EQ(start(1), start(1));
  EXPECT_NE(start(1), start(2));
}

// Pins the values: a job repeated on another machine or by another version starts from the same
// bytes.
TEST(ModelTest, StartsFromKnownValues) {
  const ParameterVector values = *InitialParameters(Mlp({1}), 1, 7);

  EXPECT_THAT(values, ElementsAre(0x1.9ac7d8p-2F, -0x1.c51e14p-2F, 0x1.5bc74ep-1F, 0x1.eca4e2p-1F));
}

TEST(ModelTest, SurvivesTheWireAsLayout) {
  const ParameterLayout layout = *LayoutOf(Mlp({3, 2}), 5);

  const StatusOr<ParameterLayout> back = FromProto(ToProto(layout));

  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, layout);
}

TEST(ModelTest, RefusesUnsoundLayoutsFromTheWire) {
  const auto is_ok = [](auto spoil) {
    v1::ParameterLayout layout = ToProto(*LayoutOf(LogisticRegression(), 3));
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
