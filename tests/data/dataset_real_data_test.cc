#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/preparation.h"
#include "tests/data/npy_writer.h"
#include "tests/support/real_data.h"
#include "tests/support/temporary_directory.h"

// Reads the real health data, where they are to be had.
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
    const v1::DataSpec& spec = dataset->spec();
    const std::vector<double> sums = dataset->PreparationSums();
    EXPECT_TRUE(CheckPreparation(sums, spec, centre.complete).ok());
    EXPECT_TRUE(Validate(PreparationOf(StatisticsOf(sums, spec), spec), spec).ok());
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

TEST(TcgaTest, HasTimeAndEventOfEveryPatientAndAllCovariates) {
  const auto path = support::FindRealData("tcga_brca/tcga_brca_1088.csv");
  if (!path) return;
  v1::DatasetConfig config;
  config.mutable_csv()->set_path(path->string());
  config.set_split_column("split");
  config.set_patient_column("pid");
  const StatusOr<CsvTable> table = ReadCsv(*path, config.csv());
  ASSERT_TRUE(table.ok()) << table.status();
  v1::DataSpec spec;
  for (std::size_t column = 3; column + 2 < table->columns.size(); ++column) {
    spec.add_features()->set_column(table->columns[column]);
    spec.mutable_features(spec.features_size() - 1)->mutable_numeric();
  }
  spec.mutable_target()->set_column("E");
  spec.mutable_target()->add_positive("1");
  spec.mutable_target()->mutable_survival()->set_time_column("T");
  spec.set_standardization(v1::STANDARDIZATION_NONE);

  const StatusOr<Dataset> dataset = Dataset::Create(*table, config, "", spec);

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const ExactExamples train = dataset->PerSiteExact(v1::SPLIT_TRAIN);
  EXPECT_EQ(train.num_inputs, 39u);
  EXPECT_EQ(train.num_targets, 2u);
  ASSERT_EQ(train.size(), 866u);
  EXPECT_EQ(dataset->num_test_rows(), 222u);
  double times = 0;
  double events = 0;
  for (std::size_t row = 0; row < train.size(); ++row) {
    times += train.targets[2 * row];
    events += train.targets[2 * row + 1];
  }
  EXPECT_EQ(times, 1079506);
  EXPECT_EQ(events, 119);
}

class StrokeTest : public testing::Test {
 protected:
  StrokeTest() {
    config_.set_split_column("split");
    for (const char* column : {"age", "sbp", "delay_h"}) {
      spec_.add_features()->set_column(column);
      spec_.mutable_features(spec_.features_size() - 1)->mutable_numeric();
    }
    spec_.mutable_target()->set_column("y_death14");
    spec_.mutable_target()->add_positive("1");
    spec_.set_standardization(v1::STANDARDIZATION_FEDERATED_ROBUST);
  }

  // One country, or all of them.
  StatusOr<Dataset> Load(const std::filesystem::path& path, const std::string& country) {
    v1::DatasetConfig config = config_;
    config.mutable_csv()->set_path(path.string());
    if (!country.empty()) {
      v1::RowFilter& filter = *config.add_keep();
      filter.set_column("country");
      filter.add_values(country);
    }
    return Dataset::Load(config, "", spec_);
  }

  v1::DatasetConfig config_;
  v1::DataSpec spec_;
};

TEST_F(StrokeTest, ThirtyCountriesPrepareAsThePooledTrialDoes) {
  const auto path = support::FindRealData("ist_stroke/ist_30countries.csv");
  if (!path) return;
  const StatusOr<Dataset> pooled = Load(*path, "");
  ASSERT_TRUE(pooled.ok()) << pooled.status();
  const StatusOr<CsvTable> table = ReadCsv(*path, {});
  ASSERT_TRUE(table.ok()) << table.status();
  std::set<std::string> countries;
  for (const auto& row : table->rows) countries.insert(row[1]);
  ASSERT_EQ(countries.size(), 30u);

  std::vector<double> total(PreparationSize(spec_));
  std::uint64_t num_rows = 0;
  for (const std::string& country : countries) {
    // From the table that was read once; the file has seven megabytes.
    v1::DatasetConfig config = config_;
    config.add_keep()->set_column("country");
    config.mutable_keep(0)->add_values(country);
    const StatusOr<Dataset> site = Dataset::Create(*table, config, "", spec_);
    ASSERT_TRUE(site.ok()) << country << ": " << site.status();
    const std::vector<double> sums = site->PreparationSums();
    EXPECT_TRUE(CheckPreparation(sums, spec_, site->num_training_rows()).ok()) << country;
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += sums[i];
    num_rows += site->num_training_rows();
  }

  EXPECT_EQ(num_rows, 13267u);
  EXPECT_EQ(pooled->num_test_rows(), 3304u);
  // Whole numbers add up without rounding, in whatever order.
  EXPECT_EQ(total, pooled->PreparationSums());
  const std::vector<ColumnStatistics> statistics = StatisticsOf(total, spec_);
  EXPECT_NEAR(statistics[0].moments.mean, 71.66737016657873, 1e-9);
  EXPECT_NEAR(statistics[0].moments.standard_deviation, 11.74358280565627, 1e-9);
  const std::vector<std::vector<double>> exact = {
      {50, 65, 73, 80, 88}, {120, 140, 160, 180, 210}, {4, 9, 18, 29, 44}};
  for (std::size_t column = 0; column < exact.size(); ++column) {
    for (std::size_t k = 0; k < 5; ++k) {
      EXPECT_NEAR(statistics[column].quantiles[k] / exact[column][k], 1, 0.005);
    }
  }
  const std::vector<Moments> prepared = PreparationOf(statistics, spec_);
  EXPECT_NEAR(prepared[1].mean, 160, 0.8);
  EXPECT_NEAR(prepared[1].standard_deviation, 40 / 1.349, 1.2);
}

TEST_F(StrokeTest, LeavesOutPatientsWhoseOutcomeIsUnknown) {
  const auto path = support::FindRealData("ist_stroke/ist_30countries.csv");
  if (!path) return;
  spec_.mutable_target()->set_column("y_dead_or_dependent_6m");
  config_.mutable_csv()->add_missing("-1");
  config_.mutable_csv()->set_on_missing(v1::MISSING_ROWS_DROP);

  const StatusOr<Dataset> dataset = Load(*path, "");

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->num_training_rows(), 13173u);
  EXPECT_EQ(dataset->num_test_rows(), 3272u);
  EXPECT_EQ(dataset->num_dropped_rows(), 126u);
}

TEST(HeartDiseaseTest, KeepsEveryRowOfTheRawFilesWhereMissingNumbersAreImputed) {
  v1::DataSpec spec = HeartSpec(v1::STANDARDIZATION_FEDERATED);
  for (v1::FeatureSpec& feature : *spec.mutable_features()) {
    if (!feature.has_numeric()) continue;
    feature.mutable_numeric()->set_impute(v1::IMPUTATION_MEDIAN);
    feature.mutable_numeric()->set_missing_indicator(true);
  }
  struct Centre {
    const char* file;
    std::size_t rows;  // With cp and restecg, which are not imputed.
    double missing_chol;
  };
  for (const Centre& centre : {Centre{"cleveland", 303, 0}, Centre{"hungarian", 293, 23},
                               Centre{"switzerland", 122, 0}, Centre{"va", 200, 7}}) {
    const std::string file = "processed." + std::string(centre.file) + ".data";
    const auto path = support::FindRealData("heart_disease/" + file);
    if (!path) return;

    const StatusOr<Dataset> dataset = Dataset::Load(RawConfig(file), path->parent_path(), spec);

    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_EQ(dataset->num_training_rows(), centre.rows) << file;
    const ColumnStatistics chol = StatisticsOf(dataset->PreparationSums(), spec)[3];
    EXPECT_EQ(chol.missing, centre.missing_chol) << file;
    const Examples train = dataset->PerSite(v1::SPLIT_TRAIN);
    EXPECT_EQ(train.num_inputs, kNumInputs + 8);
    double indicated = 0;
    for (std::size_t row = 0; row < train.size(); ++row) {
      indicated += train.inputs[row * train.num_inputs + 7];
    }
    EXPECT_EQ(indicated, centre.missing_chol) << file;
    EXPECT_TRUE(std::all_of(train.inputs.begin(), train.inputs.end(),
                            [](float input) { return std::isfinite(input); }));
  }
}

TEST(PneumoniaTest, ReadsItsImagesFromAnArrayFile) {
  const auto images = support::FindRealData("pneumoniamnist/test_images_u8_28x28.bin");
  const auto labels = support::FindRealData("pneumoniamnist/test_labels_u8.bin");
  if (!images || !labels) return;
  const auto read = [](const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return std::vector<std::uint8_t>(std::istreambuf_iterator<char>(file), {});
  };
  const std::vector<std::uint8_t> pixels = read(*images);
  const std::vector<std::uint8_t> classes = read(*labels);
  const support::TemporaryDirectory directory;
  WriteNpy(directory.path() / "images.npy", {624, 28, 28}, pixels);
  std::ofstream table(directory.path() / "images.csv");
  table << "image,pneumonia\n";
  for (std::size_t row = classes.size(); row-- > 0;) {  // Backwards: places, not the order, count.
    table << row << "," << int{classes[row]} << "\n";
  }
  table.close();
  v1::DatasetConfig config;
  config.mutable_csv()->set_path("images.csv");
  config.add_arrays()->set_column("image");
  config.mutable_arrays(0)->set_path("images.npy");
  v1::DataSpec spec;
  spec.add_features()->set_column("image");
  for (const std::uint64_t size : {1, 28, 28}) {
    spec.mutable_features(0)->mutable_array()->add_shape(size);
  }
  spec.mutable_target()->set_column("pneumonia");
  for (const char* value : {"0", "1"}) spec.mutable_target()->add_classes(value);
  spec.set_standardization(v1::STANDARDIZATION_NONE);

  const StatusOr<Dataset> dataset = Dataset::Load(config, directory.path(), spec);

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const Examples train = dataset->PerSite(v1::SPLIT_TRAIN);
  ASSERT_EQ(train.size(), 624u);
  ASSERT_EQ(train.num_inputs, 784u);
  EXPECT_EQ(std::accumulate(train.targets.begin(), train.targets.end(), 0.0F), 390.0F);
  for (std::size_t row = 0; row < 624; ++row) {
    for (std::size_t pixel = 0; pixel < 784; pixel += 61) {
      ASSERT_EQ(train.inputs[row * 784 + pixel],
                static_cast<float>(pixels[(623 - row) * 784 + pixel]) / 255.0F);
    }
  }
}

}  // namespace
}  // namespace chorale::data
