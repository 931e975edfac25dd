#include "site_agent/dataset_cache.h"

#include <gtest/gtest.h>

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

  const PreparedExamples& examples = Loaded()->Prepare(std::vector<data::Moments>{{50, 10, 0}});

  EXPECT_EQ(examples.train.targets[0], 0);
}

TEST_F(DatasetCacheTest, KeepsPreparedExamplesForTheSameMoments) {
  LoadedDataset* const dataset = Loaded();
  const std::vector<data::Moments> moments = {{40, 2, 0}};

  const float* const first = dataset->Prepare(moments).train.inputs.data();
  EXPECT_EQ(dataset->Prepare(moments).train.inputs.data(), first);
  EXPECT_FLOAT_EQ(first[2], 0.5f);  // Age 41 of the second row.

  EXPECT_FLOAT_EQ(dataset->Prepare(std::vector<data::Moments>{{40, 1, 0}}).train.inputs[2], 1.0f);
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

TEST_F(DatasetCacheTest, KeepsExactExamplesInsteadOfTheOthers) {
  LoadedDataset* const dataset = Loaded();
  const std::vector<data::Moments> moments = {{40, 3, 0}};
  (void)dataset->Prepare(moments);
  const std::uint64_t bytes = dataset->PreparedBytes();

  const data::ExactExamples& exact = dataset->PrepareExact(moments);

  EXPECT_EQ(exact.size(), 40u);
  EXPECT_EQ(exact.inputs[2], 1.0 / 3);  // Age 41 of the second row.
  EXPECT_EQ(&dataset->PrepareExact(moments), &exact);
  EXPECT_EQ(bytes, dataset->dataset().ExamplesBytes());
  EXPECT_EQ(dataset->PreparedBytes(), 2 * bytes);

  EXPECT_FLOAT_EQ(dataset->Prepare(moments).train.inputs[2], 1.0f / 3);
  EXPECT_EQ(dataset->PreparedBytes(), bytes);
}

TEST_F(DatasetCacheTest, AnotherImputedValueIsAnotherPreparation) {
  spec_.mutable_features(0)->mutable_numeric()->set_impute(v1::IMPUTATION_MEAN);
  WriteFile(path_, MakeCsv(40, 20) + "?,f,yes,train\n");
  LoadedDataset* const dataset = Loaded();

  EXPECT_FLOAT_EQ(dataset->Prepare(std::vector<data::Moments>{{40, 2, 42}}).train.inputs[80], 1);
  EXPECT_FLOAT_EQ(dataset->Prepare(std::vector<data::Moments>{{40, 2, 44}}).train.inputs[80], 2);
}

TEST_F(DatasetCacheTest, GivesBackTheMemoryOfOtherTables) {
  LoadedDataset* const first = Loaded();
  (void)first->Prepare(std::vector<data::Moments>{{40, 2, 0}});
  spec_.mutable_target()->set_positive(0, "no");
  LoadedDataset* const second = Loaded();
  (void)second->Prepare(std::vector<data::Moments>{{40, 2, 0}});
  EXPECT_EQ(cache_.PreparedBytesBeside(*second), first->PreparedBytes());
  EXPECT_GT(first->PreparedBytes(), 0u);

  cache_.DropPreparedBeside(*second);

  EXPECT_EQ(first->PreparedBytes(), 0u);
  EXPECT_GT(second->PreparedBytes(), 0u);
}

TEST_F(DatasetCacheTest, AnArrayThatTheSiteDoesNotOfferIsASchemaMismatch) {
  v1::FeatureSpec& image = *spec_.add_features();
  image.set_column("age");
  spec_.mutable_features()->DeleteSubrange(0, 2);
  spec_.mutable_features(0)->mutable_array()->add_shape(4);

  EXPECT_EQ(Refused(), ReasonCode::kSchemaMismatch);
}

TEST_F(DatasetCacheTest, ATimeThatTheTableLacksIsASchemaMismatch) {
  spec_.mutable_target()->mutable_survival()->set_time_column("days");

  EXPECT_EQ(Refused(), ReasonCode::kSchemaMismatch);
}

}  // namespace
}  // namespace chorale::site_agent
