#include "site_agent/model_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/site_agent/fixtures.h"

namespace chorale::site_agent {
namespace {

using testing::ElementsAre;

// Asked for: the loss on training rows, the accuracy on test rows.
class ModelMetricsTest : public testing::Test {
 protected:
  ModelMetricsTest() { SetTestRows(20); }
  void SetTestRows(std::size_t rows) {
    examples_.train.targets.assign(40, 0);
    examples_.test.targets.assign(rows, 0);
    terms_ = MakeTerms(MakeJobSpec(), ReportKind::kUpdate,
                       {.num_training_rows = 40, .num_test_rows = rows});
  }
  StatusOr<std::vector<v1::MetricValue>> Evaluate() {
    return EvaluateMetrics({.trainer = trainer_,
                            .plan = plan_,
                            .parameters = parameters_,
                            .examples = examples_,
                            .terms = terms_});
  }

  models::GraphPlan plan_ = MakePlan(MakeJobSpec());
  const ParameterVector parameters_ = {1, 2, 3};
  FakeTrainer trainer_;
  PreparedExamples examples_;
  ReleaseTerms terms_ =
      MakeTerms(MakeJobSpec(), ReportKind::kUpdate, {.num_training_rows = 40, .num_test_rows = 20});
};

TEST_F(ModelMetricsTest, TellsWhatTheTrainerFound) {
  const auto metrics = Evaluate();

  ASSERT_TRUE(metrics.ok()) << metrics.status();
  ASSERT_EQ(metrics->size(), 2u);
  EXPECT_EQ(metrics->at(0).kind(), v1::METRIC_KIND_LOSS);
  EXPECT_EQ(metrics->at(0).split(), v1::SPLIT_TRAIN);
  EXPECT_EQ(metrics->at(0).value(), 0.7);
  EXPECT_EQ(metrics->at(0).num_examples(), 40u);
  EXPECT_EQ(metrics->at(1).kind(), v1::METRIC_KIND_ACCURACY);
  EXPECT_EQ(metrics->at(1).value(), 0.8);
  EXPECT_EQ(metrics->at(1).num_examples(), 20u);
  EXPECT_THAT(ToPairs(*metrics, terms_), ElementsAre(0.7 * 40, 40, 0.8 * 20, 20));
}

TEST_F(ModelMetricsTest, ASplitWithTooFewRowsHasNoMetric) {
  for (const std::size_t rows : {0u, 1u, 9u}) {
    SetTestRows(rows);

    const auto metrics = Evaluate();

    ASSERT_TRUE(metrics.ok()) << metrics.status();
    ASSERT_EQ(metrics->size(), 1u);
    EXPECT_THAT(ToPairs(*metrics, terms_), ElementsAre(0.7 * 40, 40, 0, 0));
  }
}

TEST_F(ModelMetricsTest, AMetricThatIsNotFiniteIsADivergence) {
  trainer_.evaluation.loss = std::numeric_limits<double>::infinity();

  EXPECT_EQ(Evaluate().status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(ModelMetricsTest, AModelThatClassifiesNothingHasNoAccuracy) {
  trainer_.evaluation.accuracy.reset();

  EXPECT_EQ(Evaluate().status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::site_agent
