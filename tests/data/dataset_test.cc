#include "data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "data/preparation.h"
#include "tests/support/temporary_directory.h"

namespace chorale::data {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::HasSubstr;
using ::testing::Pointwise;

constexpr std::string_view kTable =
    "patient,age,cp,sbp,num,split,center\n"
    "p1,50,1.0,120,0,train,0.0\n"
    "p2,60,2,130,1,train,0\n"
    "p1,70,3,140,2,train,0\n"
    "p3,80,2,150,0,test,0\n"
    "p4,90,1,160,4,train,1\n";

void AddNumeric(v1::DataSpec& spec, const std::string& column) {
  v1::FeatureSpec& feature = *spec.add_features();
  feature.set_column(column);
  feature.mutable_numeric();
}

void AddCategorical(v1::DataSpec& spec, const std::string& column,
                    const std::vector<std::string>& levels) {
  v1::FeatureSpec& feature = *spec.add_features();
  feature.set_column(column);
  for (const std::string& level : levels) feature.mutable_categorical()->add_levels(level);
}

v1::DataSpec Spec(v1::Standardization standardization = v1::STANDARDIZATION_NONE) {
  v1::DataSpec spec;
  AddNumeric(spec, "age");
  AddCategorical(spec, "cp", {"1", "2", "3"});
  AddNumeric(spec, "sbp");
  spec.mutable_target()->set_column("num");
  for (const char* positive : {"1", "2", "3", "4"}) spec.mutable_target()->add_positive(positive);
  spec.set_standardization(standardization);
  return spec;
}

v1::DatasetConfig Config() {
  v1::DatasetConfig config;
  config.set_id("ward");
  config.mutable_csv()->set_path("ward.csv");
  config.set_split_column("split");
  return config;
}

void Keep(v1::DatasetConfig& config, const std::string& column,
          const std::vector<std::string>& values) {
  v1::RowFilter& filter = *config.add_keep();
  filter.set_column(column);
  for (const std::string& value : values) filter.add_values(value);
}

StatusOr<Dataset> Created(std::string_view text, const v1::DatasetConfig& config,
                          const v1::DataSpec& spec) {
  CHORALE_ASSIGN_OR_RETURN(const CsvTable table, ParseCsv(text, config.csv(), "ward.csv"));
  return Dataset::Create(table, config, "/nowhere", spec);
}

std::string ErrorOf(std::string_view text, const v1::DatasetConfig& config,
                    const v1::DataSpec& spec) {
  const StatusOr<Dataset> dataset = Created(text, config, spec);
  EXPECT_EQ(dataset.status().code(), StatusCode::kInvalidArgument);
  return MessageOf(dataset.status());
}

TEST(DatasetTest, TurnsRowsIntoInputsAndTargets) {
  const StatusOr<Dataset> dataset = Created(kTable, Config(), Spec());
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  const Examples train = dataset->PerSite(v1::SPLIT_TRAIN);
  const Examples test = dataset->PerSite(v1::SPLIT_TEST);

  EXPECT_EQ(train.num_inputs, 4u);
  EXPECT_THAT(train.inputs,
              ElementsAre(50, 0, 0, 120, 60, 1, 0, 130, 70, 0, 1, 140, 90, 0, 0, 160));
  EXPECT_THAT(train.targets, ElementsAre(0, 1, 1, 1));
  EXPECT_THAT(test.inputs, ElementsAre(80, 1, 0, 150));
  EXPECT_THAT(test.targets, ElementsAre(0));
  EXPECT_EQ(dataset->num_training_rows(), 4u);
  EXPECT_EQ(dataset->num_test_rows(), 1u);
}

TEST(DatasetTest, TakesEveryRowForTrainingWithoutASplitColumn) {
  v1::DatasetConfig config = Config();
  config.clear_split_column();

  const StatusOr<Dataset> dataset = Created(kTable, config, Spec());

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->num_training_rows(), 5u);
  EXPECT_EQ(dataset->PerSite(v1::SPLIT_TEST).size(), 0u);
}

TEST(DatasetTest, KeepsRowsThatMatchEveryFilterHoweverNumbersAreWritten) {
  v1::DatasetConfig config = Config();
  Keep(config, "center", {"0"});
  Keep(config, "cp", {"1", "3.0"});

  const StatusOr<Dataset> dataset = Created(kTable, config, Spec());

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->num_training_rows(), 2u);
  EXPECT_EQ(dataset->num_test_rows(), 0u);
  EXPECT_EQ(dataset->num_dropped_rows(), 0u);
}

TEST(DatasetTest, NumbersPatientsWithinEachSplit) {
  v1::DatasetConfig config = Config();
  config.set_patient_column("patient");

  const StatusOr<Dataset> dataset = Created(kTable, config, Spec());

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TRAIN).patients, ElementsAre(0, 1, 0, 2));
  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TEST).patients, ElementsAre(0));
}

TEST(DatasetTest, TakesEveryRowForAPatientWithoutAPatientColumn) {
  const StatusOr<Dataset> dataset = Created(kTable, Config(), Spec());

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TRAIN).patients, ElementsAre(0, 1, 2, 3));
}

TEST(DatasetTest, StandardizesWithTheSitesOwnTrainingMoments) {
  const StatusOr<Dataset> dataset = Created(kTable, Config(), Spec(v1::STANDARDIZATION_PER_SITE));
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  const Examples train = dataset->PerSite(v1::SPLIT_TRAIN);
  const Examples test = dataset->PerSite(v1::SPLIT_TEST);

  // Ages 50, 60, 70, 90: mean 67.5, sum of squared deviations 875.
  const double deviation = std::sqrt(875.0 / 3);
  EXPECT_FLOAT_EQ(train.inputs[0], static_cast<float>((50 - 67.5) / deviation));
  EXPECT_FLOAT_EQ(test.inputs[0], static_cast<float>((80 - 67.5) / deviation));
  EXPECT_EQ(train.inputs[5], 1);  // Indicators stay.
}

TEST(DatasetTest, OfOneSiteIsTheSameByItsOwnMomentsAndByFederatedOnes) {
  const StatusOr<Dataset> dataset = Created(kTable, Config(), Spec(v1::STANDARDIZATION_FEDERATED));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const v1::DataSpec& spec = dataset->spec();
  const std::vector<Moments> moments =
      PreparationOf(StatisticsOf(dataset->PreparationSums(), spec), spec);

  const Examples federated = dataset->Standardized(v1::SPLIT_TEST, moments);

  EXPECT_THAT(federated.inputs, Pointwise(FloatEq(), dataset->PerSite(v1::SPLIT_TEST).inputs));
}

TEST(DatasetTest, AddsUpSumsOfTheTrainingRowsAlone) {
  const StatusOr<Dataset> dataset = Created(kTable, Config(), Spec());
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  // age, then the levels 1, 2 and 3 of cp, then sbp.
  EXPECT_THAT(dataset->PreparationSums(), ElementsAre(4, 270, 2500 + 3600 + 4900 + 8100, 0, 2, 1, 1,
                                                      0, 4, 550, 14400 + 16900 + 19600 + 25600, 0));
}

TEST(DatasetTest, KeepsTheDigitsThatAFloatWouldLose) {
  v1::DataSpec spec;
  AddNumeric(spec, "admitted");
  spec.mutable_target()->set_column("y");
  spec.mutable_target()->add_positive("1");
  spec.set_standardization(v1::STANDARDIZATION_PER_SITE);
  v1::DatasetConfig config = Config();
  config.clear_split_column();

  const StatusOr<Dataset> dataset =
      Created("admitted,y\n1700000001,0\n1700000002,1\n1700000003,0\n", config, spec);

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TRAIN).inputs, ElementsAre(-1, 0, 1));
}

TEST(DatasetTest, GivesSolversEveryDigitOfADouble) {
  const StatusOr<Dataset> dataset =
      Created("age,cp,sbp,num,split\n0.1,2,16777217,1,train\n0.3,1,3,0,test\n", Config(), Spec());
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const std::vector<Moments> moments = {{.mean = 0.05, .standard_deviation = 3}, {}};

  const ExactExamples as_is = dataset->PerSiteExact(v1::SPLIT_TRAIN);
  const ExactExamples standardized = dataset->StandardizedExact(v1::SPLIT_TEST, moments);

  EXPECT_THAT(as_is.inputs, ElementsAre(0.1, 1, 0, 16777217.0));
  EXPECT_THAT(as_is.targets, ElementsAre(1));
  EXPECT_THAT(as_is.patients, ElementsAre(0));
  EXPECT_THAT(standardized.inputs, ElementsAre((0.3 - 0.05) / 3, 0, 0, 3));
}

TEST(DatasetTest, TellsTheMemoryOfItsExamplesBeforeTheyAreMade) {
  const StatusOr<Dataset> dataset = Created(kTable, Config(), Spec());
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  // 5 rows of 4 inputs, a target and a patient.
  EXPECT_EQ(dataset->ExamplesBytes(), 5u * 6 * sizeof(float));
}

TEST(DatasetTest, ReadsADecimalComma) {
  v1::DatasetConfig config = Config();
  config.mutable_csv()->set_delimiter(";");
  config.mutable_csv()->set_decimal(",");

  const StatusOr<Dataset> dataset =
      Created("age;cp;sbp;num;split\n50,5;2,0;1,2e2;1,0;train\n", config, Spec());

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TRAIN).inputs, ElementsAre(50.5, 1, 0, 120));
  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TRAIN).targets, ElementsAre(1));
}

TEST(DatasetTest, RefusesAMissingValueByLineAndColumn) {
  for (const char* marker : {"", "?", "NA", "NaN"}) {
    const std::string text =
        "age,cp,sbp,num,split\n50,1,120,0,train\n60,1," + std::string(marker) + ",1,train\n";
    EXPECT_EQ(ErrorOf(text, Config(), Spec()),
              "ward.csv:3: column 'sbp' has no value; csv.on_missing: drop leaves such rows out");
  }
}

TEST(DatasetTest, DropsAndCountsRowsThatMissAUsedValue) {
  v1::DatasetConfig config = Config();
  config.mutable_csv()->set_on_missing(v1::MISSING_ROWS_DROP);
  constexpr std::string_view kDirty =
      "unused,age,cp,sbp,num,split\n"
      "?,50,1,120,0,train\n"
      "1,?,1,120,0,train\n"
      "1,50,,120,0,train\n"
      "1,50,1,not a number,NA,train\n"
      "1,50,1,120,0,NaN\n";

  const StatusOr<Dataset> dataset = Created(kDirty, config, Spec());

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->num_training_rows(), 1u);
  EXPECT_EQ(dataset->num_dropped_rows(), 4u);
}

TEST(DatasetTest, TakesConfiguredMarkersInsteadOfTheDefaultsAndEmptyAlways) {
  v1::DatasetConfig config = Config();
  config.mutable_csv()->add_missing("-9");
  config.mutable_csv()->set_on_missing(v1::MISSING_ROWS_DROP);

  const StatusOr<Dataset> dataset = Created(
      "age,cp,sbp,num,split\n50,1,-9.0,0,train\n50,1,,0,train\n50,1,9,0,train\n", config, Spec());

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->num_dropped_rows(), 2u);
  EXPECT_THAT(ErrorOf("age,cp,sbp,num,split\n50,1,?,0,train\n", config, Spec()),
              HasSubstr("ward.csv:2: column 'sbp' is not a number"));
}

TEST(DatasetTest, DoesNotLookAtRowsThatAFilterLeavesOut) {
  v1::DatasetConfig config = Config();
  Keep(config, "center", {"0"});

  std::string text(kTable);
  text += "p9,broken,?,,9,maybe,1\n";

  const StatusOr<Dataset> dataset = Created(text, config, Spec());

  EXPECT_TRUE(dataset.ok()) << dataset.status();
}

TEST(DatasetTest, RefusesCellsThatAreNotWhatTheColumnHolds) {
  const std::string header = "age,cp,sbp,num,split\n50,1,120,0,train\n";
  EXPECT_THAT(ErrorOf(header + "old,1,120,0,train\n", Config(), Spec()),
              HasSubstr("ward.csv:3: column 'age' is not a number with a decimal point"));
  EXPECT_THAT(ErrorOf(header + "1e39,1,120,0,train\n", Config(), Spec()),
              HasSubstr("ward.csv:3: column 'age' is beyond float32"));
  EXPECT_THAT(ErrorOf(header + "50,7,120,0,train\n", Config(), Spec()),
              HasSubstr("ward.csv:3: column 'cp' holds none of the levels"));
  EXPECT_THAT(ErrorOf(header + "50,1,120,0,validation\n", Config(), Spec()),
              HasSubstr("ward.csv:3: column 'split' must be train or test"));
}

TEST(DatasetTest, NamesTheNearestColumnForOneThatIsNotThere) {
  v1::DataSpec spec = Spec();
  spec.mutable_features(0)->set_column("aeg");
  v1::DatasetConfig config = Config();
  config.set_split_column("spilt");

  EXPECT_THAT(ErrorOf(kTable, Config(), spec),
              HasSubstr("data.features[0].column: there is no column 'aeg'"));
  EXPECT_THAT(ErrorOf(kTable, Config(), spec), HasSubstr("the nearest is 'age'"));
  EXPECT_THAT(ErrorOf(kTable, config, Spec()),
              HasSubstr("split_column: there is no column 'spilt' among the 7 of the table; the "
                        "nearest is 'split'"));
}

TEST(DatasetTest, RefusesTheSplitAndThePatientColumnAsFeatures) {
  v1::DatasetConfig config = Config();
  config.set_patient_column("patient");
  for (const char* column : {"patient", "split"}) {
    v1::DataSpec spec = Spec();
    spec.mutable_features(0)->set_column(column);
    EXPECT_THAT(ErrorOf(kTable, config, spec), HasSubstr("is no feature"));
  }
}

TEST(DatasetTest, RefusesAFilterWithoutValues) {
  v1::DatasetConfig config = Config();
  Keep(config, "center", {});

  EXPECT_THAT(ErrorOf(kTable, config, Spec()),
              HasSubstr("keep[0].values must list at least one value"));
}

TEST(DatasetTest, RefusesAnUnsoundSpecificationAndConnector) {
  v1::DataSpec spec = Spec();
  spec.clear_target();
  v1::DatasetConfig config = Config();
  const CsvTable table = *ParseCsv(kTable, {}, "ward.csv");
  config.mutable_csv()->set_encoding("ebcdic");

  EXPECT_THAT(ErrorOf(kTable, Config(), spec), HasSubstr("data.target.column"));
  EXPECT_EQ(Dataset::Create(table, config, "/nowhere", Spec()).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(DatasetTest, FailsWhenNoTrainingRowIsLeft) {
  v1::DatasetConfig config = Config();
  Keep(config, "center", {"7"});

  const Status status = Created(kTable, config, Spec()).status();

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("no training row is left of 5"));
}

TEST(DatasetTest, LoadsARelativePathFromTheConfigurationsDirectory) {
  const support::TemporaryDirectory directory;
  std::ofstream(directory.path() / "ward.csv") << kTable;
  v1::DatasetConfig without_path = Config();
  without_path.mutable_csv()->clear_path();

  EXPECT_TRUE(Dataset::Load(Config(), directory.path(), Spec()).ok());
  EXPECT_EQ(Dataset::Load(Config(), directory.path() / "x", Spec()).status().code(),
            StatusCode::kNotFound);
  EXPECT_EQ(Dataset::Load(without_path, directory.path(), Spec()).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(ValidateMomentsTest, RefusesWhatWouldMakeInputsUndefined) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const Moments sound{.mean = 1, .standard_deviation = 2};
  const auto is_ok = [](const std::vector<Moments>& moments) {
    return Validate(moments, Spec()).ok();
  };

  EXPECT_TRUE(is_ok({sound, sound}));
  EXPECT_FALSE(is_ok({sound}));
  EXPECT_FALSE(is_ok({sound, sound, sound}));
  EXPECT_FALSE(is_ok({sound, {.mean = kNan, .standard_deviation = 1}}));
  EXPECT_FALSE(is_ok({sound, {.mean = 0, .standard_deviation = 0}}));
  EXPECT_FALSE(is_ok({sound, {.mean = 0, .standard_deviation = -1}}));
  EXPECT_FALSE(is_ok({sound, {.mean = 0, .standard_deviation = kNan}}));
  EXPECT_FALSE(is_ok({sound, {.mean = 0, .standard_deviation = 1, .imputed = kNan}}));
}

TEST(DatasetTest, StandardizesWithExtremeMomentsToInfinityNotToGarbage) {
  const StatusOr<Dataset> dataset = Created(kTable, Config(), Spec());
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const std::vector<Moments> extreme = {{.mean = 1e308, .standard_deviation = 1e-308},
                                        {.mean = 0, .standard_deviation = 1e-300}};

  const Examples examples = dataset->Standardized(v1::SPLIT_TEST, extreme);

  EXPECT_EQ(examples.inputs[0], -std::numeric_limits<float>::infinity());
  EXPECT_EQ(examples.inputs[3], std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace chorale::data
