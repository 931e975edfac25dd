#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "tests/support/real_data.h"

// Reads the UCI heart-disease files, where they are to be had.
namespace chorale::data {
namespace {

using ::testing::ElementsAre;

constexpr std::size_t kNumInputs = 13;

// FLamby's inputs: eight numbers and the indicators of cp and restecg.
v1::DataSpec HeartSpec(v1::Standardization standardization) {
  v1::DataSpec spec;
  for (const char* column :
       {"age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak"}) {
    v1::FeatureSpec& feature = *spec.add_features();
    feature.set_column(column);
    feature.mutable_numeric();
  }
  const auto add_categorical = [&](const char* column, const std::vector<std::string>& levels) {
    v1::FeatureSpec& feature = *spec.add_features();
    feature.set_column(column);
    for (const std::string& level : levels) feature.mutable_categorical()->add_levels(level);
  };
  add_categorical("cp", {"1", "2", "3", "4"});
  add_categorical("restecg", {"0", "1", "2"});
  spec.mutable_target()->set_column("num");
  for (const char* positive : {"1", "2", "3", "4"}) spec.mutable_target()->add_positive(positive);
  spec.set_standardization(standardization);
  return spec;
}

v1::DatasetConfig RawConfig(const std::string& file) {
  v1::DatasetConfig config;
  config.set_id("heart");
  v1::CsvConnector& csv = *config.mutable_csv();
  csv.set_path(file);
  csv.set_on_missing(v1::MISSING_ROWS_DROP);
  csv.add_missing("?");
  csv.add_missing("-9");
  for (const char* column : {"age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach",
                             "exang", "oldpeak", "slope", "ca", "thal", "num"}) {
    csv.add_columns(column);
  }
  return config;
}

TEST(HeartDiseaseTest, HasTheRowsAndInputsOfEachCentre) {
  const auto path = support::FindRealData("heart_disease/heart_disease_740.csv");
  if (!path) return;
  std::vector<std::size_t> rows;
  for (const char* center : {"0", "1", "2", "3"}) {
    v1::DatasetConfig config;
    config.mutable_csv()->set_path(path->filename().string());
    config.set_split_column("split");
    config.add_keep()->set_column("center");
    config.mutable_keep(0)->add_values(center);

    const StatusOr<Dataset> dataset =
        Dataset::Load(config, path->parent_path(), HeartSpec(v1::STANDARDIZATION_PER_SITE));

    ASSERT_TRUE(dataset.ok()) << dataset.status();
    rows.push_back(dataset->num_training_rows() + dataset->num_test_rows());
    EXPECT_EQ(dataset->num_dropped_rows(), 0u);
    EXPECT_GT(dataset->num_test_rows(), 0u);
    EXPECT_EQ(dataset->PerSite(v1::SPLIT_TRAIN).num_inputs, kNumInputs);
  }
  EXPECT_THAT(rows, ElementsAre(303u, 261u, 46u, 130u));
}

TEST(HeartDiseaseTest, HasMeanZeroAndDeviationOneAfterPerSiteStandardisation) {
  const auto path = support::FindRealData("heart_disease/heart_disease_740.csv");
  if (!path) return;
  v1::DatasetConfig config;
  config.mutable_csv()->set_path(path->string());
  config.set_split_column("split");

  const StatusOr<Dataset> dataset =
      Dataset::Load(config, "/nowhere", HeartSpec(v1::STANDARDIZATION_PER_SITE));

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const Examples train = dataset->PerSite(v1::SPLIT_TRAIN);
  for (std::size_t input = 0; input < 8; ++input) {
    std::vector<double> values;
    for (std::size_t row = 0; row < train.size(); ++row) {
      values.push_back(train.inputs[row * kNumInputs + input]);
    }
    EXPECT_NEAR(MomentsOf(values).mean, 0, 1e-6);
    EXPECT_NEAR(MomentsOf(values).standard_deviation, 1, 1e-6);
  }
}

TEST(HeartDiseaseTest, ReadsTheRawFilesOfEveryCentre) {
  struct Centre {
    const char* file;
    std::size_t rows;      // In the file.
    std::size_t complete;  // With every used value.
  };
  // Complete rows as in FLamby's cleaning, except for Cleveland, which misses none.
  for (const Centre& centre : {Centre{"cleveland", 303, 303}, Centre{"hungarian", 294, 261},
                               Centre{"switzerland", 123, 46}, Centre{"va", 200, 130}}) {
    const std::string file = "processed." + std::string(centre.file) + ".data";
    const auto path = support::FindRealData("heart_disease/" + file);
    if (!path) return;

    const StatusOr<Dataset> dataset = Dataset::Load(RawConfig(file), path->parent_path(),
                                                    HeartSpec(v1::STANDARDIZATION_FEDERATED));

    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_EQ(dataset->num_training_rows(), centre.complete) << file;
    EXPECT_EQ(dataset->num_dropped_rows(), centre.rows - centre.complete) << file;
    for (const MomentSums& sums : dataset->TrainingMoments()) {
      EXPECT_TRUE(std::isfinite(MomentsOf(sums).standard_deviation));
    }
  }
}

TEST(HeartDiseaseTest, HasOneClassAloneInTheTrainingRowsOfSwitzerland) {
  const auto path = support::FindRealData("heart_disease/heart_disease_740.csv");
  if (!path) return;
  v1::DatasetConfig config;
  config.mutable_csv()->set_path(path->string());
  config.set_split_column("split");
  config.add_keep()->set_column("center_name");
  config.mutable_keep(0)->add_values("switzerland");

  const StatusOr<Dataset> dataset =
      Dataset::Load(config, "", HeartSpec(v1::STANDARDIZATION_PER_SITE));

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const std::vector<float> targets = dataset->PerSite(v1::SPLIT_TRAIN).targets;
  EXPECT_EQ(targets.size(), 30u);
  EXPECT_EQ(std::accumulate(targets.begin(), targets.end(), 0.0F), 30.0F);
}

TEST(TcgaTest, ReadsAQuotedTableAndItsPatients) {
  const auto path = support::FindRealData("tcga_brca/tcga_brca_1088.csv");
  if (!path) return;
  v1::DatasetConfig config;
  config.mutable_csv()->set_path(path->string());
  config.set_split_column("split");
  config.set_patient_column("pid");
  v1::DataSpec spec;
  spec.add_features()->set_column("age_at_index");
  spec.mutable_features(0)->mutable_numeric();
  spec.mutable_target()->set_column("E");
  spec.mutable_target()->add_positive("1");
  spec.set_standardization(v1::STANDARDIZATION_NONE);

  const StatusOr<Dataset> dataset = Dataset::Load(config, "", spec);

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->num_training_rows() + dataset->num_test_rows(), 1088u);
}

}  // namespace
}  // namespace chorale::data
