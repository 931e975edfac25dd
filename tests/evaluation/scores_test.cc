#include "evaluation/scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "models/model.h"

namespace chorale::evaluation {
namespace {

using Values = std::vector<float>;

models::GraphPlan PlanOf(const v1::ModelSpec& spec) { return models::PlanOf(spec, 4).value(); }

v1::ModelSpec Perceptron() {
  v1::ModelSpec spec;
  spec.mutable_mlp()->add_hidden_units(3);
  spec.mutable_mlp()->set_activation(v1::ACTIVATION_RELU);
  return spec;
}

TEST(ScoresTest, ABinaryTargetHasAccuracyAreaAndLoss) {
  v1::ModelSpec spec;
  spec.mutable_logistic_regression();
  const Scores scores = Judge(PlanOf(spec), Values{.9F, .2F, .6F}, Values{1, 0, 1});
  EXPECT_EQ(scores.num_rows, 3u);
  ASSERT_EQ(scores.metrics.size(), MeasuresOf(models::TargetKind::kBinary).size());
  EXPECT_EQ(scores.metrics[0].estimate->value, 1);
  EXPECT_EQ(scores.metrics[1].estimate->value, 1);
}

TEST(ScoresTest, ClassesAreJudgedByAllTheirProbabilities) {
  v1::ModelSpec spec = Perceptron();
  spec.mutable_mlp()->mutable_loss()->mutable_cross_entropy()->set_num_classes(3);
  const Scores scores =
      Judge(PlanOf(spec), Values{.8F, .1F, .1F, .1F, .8F, .1F, .1F, .2F, .7F}, Values{0, 1, 2});
  EXPECT_EQ(scores.num_rows, 3u);
  EXPECT_EQ(scores.metrics[0].estimate->value, 1);
  EXPECT_EQ(scores.metrics[1].estimate->value, 1);
  EXPECT_EQ(MeasuresOf(models::TargetKind::kClass)[2].key, "log_loss");
}

TEST(ScoresTest, NumbersAreJudgedByTheirErrors) {
  v1::ModelSpec spec;
  spec.mutable_linear_regression();
  const Scores scores = Judge(PlanOf(spec), Values{1, 2, 3}, Values{1, 2, 5});
  ASSERT_EQ(scores.metrics.size(), 3u);
  EXPECT_NEAR(scores.metrics[1].estimate->value, 2.0 / 3, 1e-12);
  EXPECT_TRUE(MeasuresOf(models::TargetKind::kNumber)[0].is_lower_better);
}

TEST(ScoresTest, ALargerLogHazardRatioIsAnEventExpectedSooner) {
  v1::ModelSpec spec;
  spec.mutable_cox();
  const Scores scores = Judge(PlanOf(spec), Values{2, 1, 0}, Values{1, 1, 2, 1, 3, 0});
  EXPECT_EQ(scores.num_rows, 3u);
  ASSERT_EQ(scores.metrics.size(), 1u);
  EXPECT_EQ(scores.metrics[0].estimate->value, 1);
}

TEST(ScoresTest, HazardsOfIntervalsBecomeTheTimeThatIsNotLived) {
  v1::ModelSpec spec;
  for (const double end : {1.0, 10.0}) spec.mutable_discrete_survival()->add_interval_ends(end);
  // The first row dies early in the long interval, the second likely at once, the third hardly.
  const Values hazards = {.1F, .9F, .8F, .1F, .1F, .1F};
  const Values targets = {5, 1, 0.5F, 1, 12, 0};
  // Time lived: .9 + .09 * 9 = 1.71; .2 + .18 * 9 = 1.82; .9 + .81 * 9 = 8.19.
  EXPECT_NEAR(Judge(PlanOf(spec), hazards, targets).metrics[0].estimate->value, 2.0 / 3, 1e-12);
}

TEST(ScoresTest, MasksHaveNoMeasures) {
  EXPECT_TRUE(MeasuresOf(models::TargetKind::kMask).empty());
  EXPECT_EQ(NameOf(models::TargetKind::kMask), "mask");
}

}  // namespace
}  // namespace chorale::evaluation
