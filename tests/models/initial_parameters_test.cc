#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "models/model.h"
#include "tests/models/toy_graphs.h"
#include "tests/models/zoo_specs.h"

namespace chorale::models {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

GraphPlan PlanFor(const std::string& yaml, std::uint64_t num_inputs) {
  StatusOr<GraphPlan> plan = PlanOf(SpecOf(yaml), num_inputs);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *std::move(plan);
}

std::vector<float> TensorOf(const GraphPlan& plan, const std::string& name,
                            const ParameterVector& values) {
  for (const TensorLayout& tensor : plan.layout().tensors()) {
    if (tensor.name != name) continue;
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(tensor.offset);
    return {begin, begin + static_cast<std::ptrdiff_t>(tensor.size)};
  }
  ADD_FAILURE() << "no tensor " << name;
  return {};
}

TEST(InitialParametersTest, StartLinearModelsAtZero) {
  for (const char* kind : {"logistic_regression", "linear_regression", "poisson_regression"}) {
    EXPECT_THAT(InitialParameters(PlanFor(std::string(kind) + ": {}", 3), 42),
                ElementsAre(0, 0, 0, 0));
  }
  EXPECT_THAT(InitialParameters(PlanFor("cox: {}", 3), 42), ElementsAre(0, 0, 0));
}

TEST(InitialParametersTest, StartAnMlpWithinTheBoundOfEachLayer) {
  const GraphPlan plan = PlanFor("mlp: {hidden_units: [64, 16], activation: relu}", 4);
  const ParameterVector values = InitialParameters(plan, 42);
  const auto largest = [&](const std::string& name) {
    float most = 0;
    for (const float value : TensorOf(plan, name, values)) most = std::max(most, std::abs(value));
    return most;
  };

  // The largest of many uniform values lies just under the bound 1/sqrt(in).
  EXPECT_LE(largest("layers.0.weight"), 0.5F);
  EXPECT_GT(largest("layers.0.weight"), 0.45F);
  EXPECT_LE(largest("layers.0.bias"), 0.5F);
  EXPECT_GT(largest("layers.0.bias"), 0.4F);
  EXPECT_LE(largest("layers.1.weight"), 0.125F);
  EXPECT_GT(largest("layers.1.weight"), 0.12F);
  EXPECT_LE(largest("layers.2.weight"), 0.25F);
}

TEST(InitialParametersTest, AreTheSameForTheSameSeedAlone) {
  const GraphPlan plan = PlanFor("resnet18_gn: {image: {height: 4, width: 4}, width: 16}", 16);

  EXPECT_EQ(InitialParameters(plan, 1), InitialParameters(plan, 1));
  EXPECT_NE(InitialParameters(plan, 1), InitialParameters(plan, 2));
}

// Pins the values: a job repeated on another machine or by another version starts from the same
// bytes.
TEST(InitialParametersTest, StartFromKnownValues) {
  EXPECT_THAT(InitialParameters(PlanFor("mlp: {hidden_units: [1], activation: relu}", 1), 7),
              ElementsAre(0x1.9ac7d8p-2F, -0x1.c51e14p-2F, 0x1.5bc74ep-1F, 0x1.eca4e2p-1F));
}

// The first weights of `initializer` in a layer of 4 inputs and 2 outputs.
std::vector<float> First(const std::string& initializer) {
  const GraphPlan plan = *Plan(GraphAround(
      "linear: {units: 2}, weight_initializer: " + initializer + ", bias_initializer: zeros",
      {{4}}));
  ParameterVector values = InitialParameters(plan, 7);
  values.resize(3);
  return values;
}

// From an independent implementation of the generator and of each distribution.
TEST(InitialParametersTest, StartFromKnownValuesOfEveryInitializer) {
  EXPECT_THAT(First("zeros"), ElementsAre(0, 0, 0));
  EXPECT_THAT(First("ones"), ElementsAre(1, 1, 1));
  EXPECT_THAT(First("fan_in_uniform"),
              ElementsAre(0x1.9ac7d8p-3F, -0x1.c51e14p-3F, 0x1.5bc74ep-2F));
  EXPECT_THAT(First("he_normal"), ElementsAre(-0x1.caee6ap-1F, -0x1.6aa952p-1F, 0x1.39fc72p-1F));
  EXPECT_THAT(First("xavier_uniform"),
              ElementsAre(0x1.9ac7d8p-2F, -0x1.c51e14p-2F, 0x1.5bc74ep-1F));
  EXPECT_THAT(First("normal_002"), ElementsAre(-0x1.9f6090p-6F, -0x1.483e5ep-6F, 0x1.1c3014p-6F));
  EXPECT_THAT(First("normal"), ElementsAre(-0x1.448370p+0F, -0x1.0070bap+0F, 0x1.bc0b1ep-1F));
}

struct Moments {
  double mean = 0;
  double variance = 0;
};

Moments MomentsOf(const std::vector<float>& values) {
  Moments moments;
  for (const float value : values) moments.mean += value;
  moments.mean /= static_cast<double>(values.size());
  for (const float value : values) moments.variance += std::pow(value - moments.mean, 2);
  moments.variance /= static_cast<double>(values.size() - 1);
  return moments;
}

// 40000 values, seed 3. Bounds are 5 standard errors of mean and variance: a right implementation
// fails with probability 1e-6 for each (and, the seed being fixed, does not).
TEST(InitialParametersTest, HaveTheMomentsOfTheirDistribution) {
  struct Wanted {
    std::string initializer;
    double variance;
    double fourth_moment;  // Of the standardised value: 3 for normal, 1.8 for uniform ones.
  };
  constexpr double kIn = 200;
  constexpr double kOut = 200;
  for (const Wanted& wanted :
       {Wanted{"fan_in_uniform", 1 / kIn / 3, 1.8}, Wanted{"he_normal", 2 / kIn, 3},
        Wanted{"xavier_uniform", 2 / (kIn + kOut), 1.8}, Wanted{"normal_002", 0.0004, 3},
        Wanted{"normal", 1, 3}}) {
    SCOPED_TRACE(wanted.initializer);
    const GraphPlan plan = *Plan(GraphAround(
        "linear: {units: 200, no_bias: true}, weight_initializer: " + wanted.initializer, {{200}}));
    const std::vector<float> values = TensorOf(plan, "node.weight", InitialParameters(plan, 3));
    const auto count = static_cast<double>(values.size());
    ASSERT_EQ(count, 40000);
    const Moments moments = MomentsOf(values);

    EXPECT_NEAR(moments.mean, 0, 5 * std::sqrt(wanted.variance / count));
    EXPECT_NEAR(moments.variance, wanted.variance,
                5 * wanted.variance * std::sqrt((wanted.fourth_moment - 1) / count));
  }
}

// Shares beyond 1, 2 and 3 standard deviations of 40000 values, against the normal distribution's
// to within 5 standard errors.
TEST(InitialParametersTest, AreNormalInTheTails) {
  const GraphPlan plan = *Plan(
      GraphAround("linear: {units: 200, no_bias: true}, weight_initializer: normal", {{200}}));
  const std::vector<float> values = TensorOf(plan, "node.weight", InitialParameters(plan, 5));
  for (const double z : {1.0, 2.0, 3.0}) {
    const double share = std::erfc(z / std::sqrt(2));
    const auto beyond = static_cast<double>(std::count_if(
        values.begin(), values.end(), [z](float value) { return std::abs(value) > z; }));
    EXPECT_NEAR(beyond / 40000, share, 5 * std::sqrt(share * (1 - share) / 40000)) << z;
  }
}

TEST(InitialParametersTest, StartNormsAtTheIdentity) {
  const GraphPlan plan = *Plan(GraphAround("batch_norm: {}", {{3}}));
  const ParameterVector values = InitialParameters(plan, 1);

  EXPECT_THAT(TensorOf(plan, "node.weight", values), Each(1));
  EXPECT_THAT(TensorOf(plan, "node.bias", values), Each(0));
  EXPECT_THAT(TensorOf(plan, "node.running_mean", values), Each(0));
  EXPECT_THAT(TensorOf(plan, "node.running_var", values), Each(1));
}

}  // namespace
}  // namespace chorale::models
