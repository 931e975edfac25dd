#include "site_agent/dataset_cache.h"

#include <gtest/gtest.h>

#include "site_agent/model_metrics.h"
#include "tests/site_agent/fixtures.h"
#include "tests/support/temporary_directory.h"

namespace chorale::site_agent {
namespace {

class DatasetCacheTest : public testing::Test {
 protected:
  DatasetCacheTest() { WriteFile(path_, MakeCsv(40, 20)); }
  std::variant<LoadedDataset*, ReasonCode> Load() { return cache_.Load(config_, spec_); }
  LoadedDataset* Loaded() {
    const auto loaded = Load();
    EXPECT_TRUE(std::holds_alternative<LoadedDataset*>(loaded));
    return std::get<LoadedDataset*>(loaded);
  }
  ReasonCode Refused() {
    const auto loaded = Load();
    EXPECT_TRUE(std::holds_alternative<ReasonCode>(loaded));
    return std::get<ReasonCode>(loaded);
  }

  support::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_.path() / "heart.csv";
  v1::DatasetConfig config_ = MakeSiteConfig(directory_.path()).datasets(0);
  v1::DataSpec spec_ = MakeJobSpec().data();
  DatasetCache cache_{directory_.path()};
};

TEST_F(DatasetCacheTest, ReadsATableOnce) {
  LoadedDataset* const first = Loaded();

  EXPECT_EQ(first->dataset().num_training_rows(), 40u);
  EXPECT_EQ(first->dataset().num_test_rows(), 20u);
  EXPECT_EQ(Loaded(), first);
}

TEST_F(DatasetCacheTest, ReadsAgainWhenTheFileChanged) {
  Loaded();
  WriteFile(path_, MakeCsv(50, 20));

  EXPECT_EQ(Loaded()->dataset().num_training_rows(), 50u);
}

TEST_F(DatasetCacheTest, AnotherSpecificationIsAnotherReading) {
  Loaded();
  spec_.mutable_target()->set_positive(0, "no");

  const PreparedExamples& examples = Loaded()->Prepare(std::vector<data::Moments>{{50, 10}});

  EXPECT_EQ(examples.train.targets[0], 0);
}

TEST_F(DatasetCacheTest, KeepsPreparedExamplesForTheSameMoments) {
  LoadedDataset* const dataset = Loaded();
  const std::vector<data::Moments> moments = {{40, 2}};

  const float* const first = dataset->Prepare(moments).train.inputs.data();
  EXPECT_EQ(dataset->Prepare(moments).train.inputs.data(), first);
  EXPECT_FLOAT_EQ(first[2], 0.5f);  // Age 41 of the second row.

  EXPECT_FLOAT_EQ(dataset->Prepare(std::vector<data::Moments>{{40, 1}}).train.inputs[2], 1.0f);
}

TEST_F(DatasetCacheTest, AColumnThatTheJobNamesInVainIsASchemaMismatch) {
  spec_.mutable_features(0)->set_column("bmi");
  EXPECT_EQ(Refused(), ReasonCode::kSchemaMismatch);

  spec_ = MakeJobSpec().data();
  spec_.mutable_target()->set_column("dead");
  EXPECT_EQ(Refused(), ReasonCode::kSchemaMismatch);
}

TEST_F(DatasetCacheTest, WhatCannotBeReadIsInvalid) {
  WriteFile(path_, "age,sex,sick,split\n40,f,yes,train\nforty,f,yes,train\n");
  EXPECT_EQ(Refused(), ReasonCode::kDataInvalid);

  WriteFile(path_, "age,sex,sick,split\n40,x,yes,train\n");
  EXPECT_EQ(Refused(), ReasonCode::kDataInvalid);

  WriteFile(path_, "age,sex,sick,split\n40,f,yes,test\n");
  EXPECT_EQ(Refused(), ReasonCode::kDataInvalid);

  std::filesystem::remove(path_);
  EXPECT_EQ(Refused(), ReasonCode::kDataInvalid);
}

TEST(ModelMetricsTest, LossIsTheMeanCrossEntropy) {
  const std::vector<float> scores = {0.9f, 0.2f, 0.5f};
  const std::vector<float> targets = {1, 0, 1};

  EXPECT_NEAR(MeanLoss(scores, targets), -(std::log(0.9) + std::log(0.8) + std::log(0.5)) / 3,
              1e-6);
}

TEST(ModelMetricsTest, ACertainMistakeCostsMuchAndNotInfinity) {
  EXPECT_NEAR(MeanLoss(std::vector<float>{0}, std::vector<float>{1}), -std::log(1e-7), 1e-9);
  EXPECT_NEAR(MeanLoss(std::vector<float>{1}, std::vector<float>{0}), -std::log(1e-7), 1e-6);
}

TEST(ModelMetricsTest, OneHalfCountsAsPositive) {
  EXPECT_EQ(AccuracyOf(std::vector<float>{0.5f, 0.49f, 0.7f, 0.1f}, std::vector<float>{1, 1, 0, 0}),
            0.5);
}

TEST(ModelMetricsTest, ASplitWithTooFewRowsHasNoMetric) {
  FakeTrainer trainer;
  PreparedExamples examples;
  examples.train.targets.assign(40, 0);
  examples.test.targets.assign(9, 0);
  const ReleaseTerms terms =
      MakeTerms(MakeJobSpec(), ReportKind::kUpdate, {.num_training_rows = 40, .num_test_rows = 9});

  const auto metrics = EvaluateMetrics(trainer, MakeJobSpec().model(), {}, examples, terms);

  ASSERT_TRUE(metrics.ok());
  ASSERT_EQ(metrics->size(), 1u);
  EXPECT_EQ(metrics->at(0).kind(), v1::METRIC_KIND_LOSS);
  EXPECT_NEAR(metrics->at(0).value(), -std::log(0.75), 1e-6);
  EXPECT_EQ(metrics->at(0).num_examples(), 40u);
}

}  // namespace
}  // namespace chorale::site_agent
