#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/bytes.h"
#include "models/model.h"
#include "tests/models/toy_graphs.h"
#include "tests/models/zoo_specs.h"

namespace chorale::models {
namespace {

using ::testing::HasSubstr;

TEST(DescribeTest, ShowsEveryLayerThenTheTotals) {
  const StatusOr<GraphPlan> plan = Plan(GraphOf(R"(
inputs: [{name: x, shape: [2, 4], unit: mmHg}]
nodes:
  - {name: conv, inputs: [x], convolution: {channels: 3, kernel: [3], padding: [1]}}
  - {name: relu, inputs: [conv], activation: relu}
  - {name: mean, inputs: [relu], adaptive_pool: {kind: average, size: [1]}}
  - {name: flat, inputs: [mean], flatten: {}}
  - {name: head, inputs: [flat], linear: {units: 2}, weight_initializer: xavier_uniform}
output: head
loss: {cross_entropy: {num_classes: 2, class_weights: [1, 2.5]}}
)"));
  ASSERT_TRUE(plan.ok()) << plan.status();

  EXPECT_EQ(Describe(*plan), R"(LAYER  FROM  SHAPE   PARAMETERS  MULTIPLY-ADDS  OPERATION
x      -     [2, 4]           0              0  input in mmHg
conv   x     [3, 4]          21             72  convolution channels=3 kernel=[3] stride=[1] padding=[1] dilation=[1] groups=1 weight~fan_in_uniform bias~fan_in_uniform
relu   conv  [3, 4]           0              0  relu
mean   relu  [3, 1]           0             12  adaptive_pool kind=average size=[1]
flat   mean  [3]              0              0  flatten
head   flat  [2]              8              6  linear units=2 weight~xavier_uniform bias~fan_in_uniform

inputs         8
outputs        2
parameters     29
multiply-adds  90 an example
loss           cross_entropy num_classes=2 class_weights=[1, 2.5]
digest         )" + ToHex(plan->digest()) +
                                 "\n");
}

TEST(DescribeTest, CountsLongLists) {
  v1::ModelGraph graph = SoundGraph();
  graph.mutable_nodes(0)->mutable_linear()->set_units(9);
  v1::DiscreteTimeSurvival& loss = *graph.mutable_loss()->mutable_discrete_survival();
  for (int i = 1; i <= 9; ++i) loss.add_interval_ends(i);

  EXPECT_THAT(Describe(*Plan(graph)), HasSubstr("discrete_survival interval_ends=9 numbers\n"));
}

TEST(DescribeTest, DescribesEveryModelOfTheZoo) {
  for (const ZooSpec& zoo : ZooSpecs()) {
    const StatusOr<GraphPlan> plan = PlanOf(SpecOf(zoo.yaml), zoo.num_inputs);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const std::string text = Describe(*plan);

    EXPECT_THAT(text, HasSubstr("\nparameters     " +
                                std::to_string(plan->layout().num_parameters()) + "\n"));
    EXPECT_TRUE(text.ends_with("\n"));
  }
}

}  // namespace
}  // namespace chorale::models
