#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/preparation.h"
#include "tests/data/npy_writer.h"
#include "tests/support/temporary_directory.h"

// What becomes of missing numbers, of targets of each kind and of arrays.
namespace chorale::data {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::HasSubstr;
using ::testing::Pointwise;

StatusOr<Dataset> Created(std::string_view text, const v1::DatasetConfig& config,
                          const v1::DataSpec& spec,
                          const std::filesystem::path& directory = "/nowhere") {
  CHORALE_ASSIGN_OR_RETURN(const CsvTable table, ParseCsv(text, config.csv(), "ward.csv"));
  return Dataset::Create(table, config, directory, spec);
}

std::string ErrorOf(const StatusOr<Dataset>& dataset) {
  EXPECT_EQ(dataset.status().code(), StatusCode::kInvalidArgument);
  return MessageOf(dataset.status());
}

std::string WithRow(std::string_view table, std::string_view row) {
  std::string text(table);
  text.append(row).append("\n");
  return text;
}

// The numeric features x, with what `impute` says, and z, without; the target y.
v1::DataSpec Spec(v1::Standardization standardization, v1::Imputation impute) {
  v1::DataSpec spec;
  for (const char* column : {"x", "z"}) {
    spec.add_features()->set_column(column);
    spec.mutable_features(spec.features_size() - 1)->mutable_numeric();
  }
  spec.mutable_features(0)->mutable_numeric()->set_impute(impute);
  spec.mutable_target()->set_column("y");
  spec.mutable_target()->add_positive("1");
  spec.set_standardization(standardization);
  return spec;
}

v1::DatasetConfig SplitConfig() {
  v1::DatasetConfig config;
  config.set_split_column("split");
  return config;
}

constexpr std::string_view kGaps =
    "x,z,y,split\n"
    "1,5,0,train\n"
    "?,6,1,train\n"
    "4,7,1,train\n"
    ",8,0,test\n"
    "7,9,0,test\n";

TEST(ImputationTest, PutsTheTrainingMeanOfTheSiteInPlaceOfAMissingValue) {
  const StatusOr<Dataset> dataset =
      Created(kGaps, SplitConfig(), Spec(v1::STANDARDIZATION_NONE, v1::IMPUTATION_MEAN));
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TRAIN).inputs, ElementsAre(1, 5, 2.5, 6, 4, 7));
  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TEST).inputs, ElementsAre(2.5, 8, 7, 9));
  EXPECT_EQ(dataset->num_dropped_rows(), 0u);
}

TEST(ImputationTest, StandardizesTheImputedMeanToZero) {
  const StatusOr<Dataset> dataset =
      Created(kGaps, SplitConfig(), Spec(v1::STANDARDIZATION_PER_SITE, v1::IMPUTATION_MEAN));
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  const std::vector<float> inputs = dataset->PerSite(v1::SPLIT_TRAIN).inputs;

  // The deviation is that of 1 and 4 alone.
  const auto deviation = static_cast<float>(std::sqrt(4.5));
  EXPECT_FLOAT_EQ(inputs[0], -1.5F / deviation);
  EXPECT_EQ(inputs[2], 0);
  EXPECT_FLOAT_EQ(inputs[4], 1.5F / deviation);
}

TEST(ImputationTest, TakesWhatTheFederationSays) {
  const StatusOr<Dataset> dataset =
      Created(kGaps, SplitConfig(), Spec(v1::STANDARDIZATION_FEDERATED, v1::IMPUTATION_MEDIAN));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const std::vector<Moments> moments = {{.mean = 2, .standard_deviation = 4, .imputed = 10},
                                        {.mean = 5, .standard_deviation = 1, .imputed = 77}};

  EXPECT_THAT(dataset->Standardized(v1::SPLIT_TRAIN, moments).inputs,
              ElementsAre(-0.25, 0, 2, 1, 0.5, 2));
  EXPECT_THAT(dataset->StandardizedExact(v1::SPLIT_TEST, moments).inputs,
              ElementsAre(2, 3, 1.25, 4));
}

v1::DataSpec RangeSpec() {
  v1::DataSpec spec = Spec(v1::STANDARDIZATION_RANGE, v1::IMPUTATION_MIDDLE);
  for (int i = 0; i < 2; ++i) {
    v1::ValueRange& range = *spec.mutable_features(i)->mutable_numeric()->mutable_range();
    range.set_low(i == 0 ? 0 : 6);
    range.set_high(i == 0 ? 2 : 8);
  }
  return spec;
}

TEST(RangeTest, IsBroughtOntoMinusOneToOneWithoutLookingAtAnyRow) {
  // x is 1, missing, 4 in rows of training; z is 5, 6, 7.
  const StatusOr<Dataset> dataset = Created(kGaps, SplitConfig(), RangeSpec());
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  // 4 lies beyond the range of x, 5 beyond that of z: the nearest end stands for each.
  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TRAIN).inputs, ElementsAre(0, -1, 0, -1, 1, 0));
}

TEST(RangeTest, DoesNotChangeWhatOtherRowsBecomeWhenOneRowChanges) {
  const StatusOr<Dataset> dataset = Created(kGaps, SplitConfig(), RangeSpec());
  const StatusOr<Dataset> neighbor =
      Created(WithRow(kGaps, "1e30,-1e30,0,train"), SplitConfig(), RangeSpec());
  ASSERT_TRUE(dataset.ok() && neighbor.ok()) << neighbor.status();

  const std::vector<float> own = dataset->PerSite(v1::SPLIT_TRAIN).inputs;
  const std::vector<float> with = neighbor->PerSite(v1::SPLIT_TRAIN).inputs;

  ASSERT_EQ(with.size(), own.size() + 2);
  EXPECT_TRUE(std::equal(own.begin(), own.end(), with.begin()));
  EXPECT_THAT(std::vector<float>(with.end() - 2, with.end()), ElementsAre(1, -1));
}

TEST(RangeTest, HoldsTheMomentsOfASiteAloneWhereNoiseTellsThoseOfAll) {
  v1::DataSpec spec = RangeSpec();
  spec.set_standardization(v1::STANDARDIZATION_FEDERATED_PRIVATE);
  const StatusOr<Dataset> dataset = Created(kGaps, SplitConfig(), spec);
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  // x is 1 and 4, cut to 2; z is 5, cut to 6, then 6 and 7.
  const double deviation = std::sqrt(0.5);
  const std::vector<double> expected = {-0.5 / deviation,  -1 / std::sqrt(3), 0,
                                        -1 / std::sqrt(3), 0.5 / deviation,   2 / std::sqrt(3)};
  const std::vector<double> inputs = dataset->PerSiteExact(v1::SPLIT_TRAIN).inputs;
  ASSERT_EQ(inputs.size(), expected.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) EXPECT_NEAR(inputs[i], expected[i], 1e-12) << i;
}

TEST(RangeTest, AddsWhatARowSaysOfEveryNumericFeature) {
  const StatusOr<Dataset> dataset = Created(kGaps, SplitConfig(), RangeSpec());
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  std::vector<double> values(2), squares(2), present(2);
  for (const std::size_t row : {1u, 2u}) {  // x is missing, then 4; z is 6, then 7.
    dataset->AddRangedValues(row, 0.5, values, squares, present);
  }
  EXPECT_THAT(values, ElementsAre(0.5, -0.5));
  EXPECT_THAT(squares, ElementsAre(0.5, 0.5));
  EXPECT_THAT(present, ElementsAre(0.5, 1));
}

TEST(ImputationTest, TellsMissingValuesInAnInputBehindTheFeature) {
  v1::DataSpec spec = Spec(v1::STANDARDIZATION_NONE, v1::IMPUTATION_MEAN);
  spec.mutable_features(0)->mutable_numeric()->set_missing_indicator(true);
  const StatusOr<Dataset> dataset = Created(kGaps, SplitConfig(), spec);
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  const Examples train = dataset->PerSite(v1::SPLIT_TRAIN);

  EXPECT_EQ(train.num_inputs, NumInputs(spec));
  EXPECT_THAT(train.inputs, ElementsAre(1, 0, 5, 2.5, 1, 6, 4, 0, 7));
}

TEST(ImputationTest, CountsMissingValuesInItsSums) {
  const StatusOr<Dataset> dataset =
      Created(kGaps, SplitConfig(), Spec(v1::STANDARDIZATION_FEDERATED, v1::IMPUTATION_MEAN));
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  EXPECT_THAT(dataset->PreparationSums(), ElementsAre(2, 5, 17, 1, 3, 18, 110, 0));
}

TEST(ImputationTest, OfOneSiteIsTheSameAloneAndAsAFederation) {
  for (const auto standardization :
       {v1::STANDARDIZATION_FEDERATED, v1::STANDARDIZATION_FEDERATED_ROBUST}) {
    for (const auto impute : {v1::IMPUTATION_MEAN, v1::IMPUTATION_MEDIAN}) {
      const v1::DataSpec spec = Spec(standardization, impute);
      const StatusOr<Dataset> dataset = Created(kGaps, SplitConfig(), spec);
      ASSERT_TRUE(dataset.ok()) << dataset.status();

      const std::vector<Moments> moments =
          PreparationOf(StatisticsOf(dataset->PreparationSums(), spec), spec);

      EXPECT_THAT(dataset->Standardized(v1::SPLIT_TEST, moments).inputs,
                  Pointwise(FloatEq(), dataset->PerSite(v1::SPLIT_TEST).inputs));
    }
  }
}

TEST(ImputationTest, LeavesAColumnWithoutAnyTrainingValueAtZero) {
  const StatusOr<Dataset> dataset =
      Created("x,z,y,split\n,1,0,train\n?,2,1,train\n8,3,1,test\n", SplitConfig(),
              Spec(v1::STANDARDIZATION_PER_SITE, v1::IMPUTATION_MEAN));
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  EXPECT_EQ(dataset->PerSite(v1::SPLIT_TRAIN).inputs[0], 0);
  EXPECT_EQ(dataset->PerSite(v1::SPLIT_TEST).inputs[0], 8);
}

TEST(ImputationTest, LeavesOtherColumnsToTheSitesConfiguration) {
  const std::string text = WithRow(kGaps, "3,?,1,train");
  const v1::DataSpec spec = Spec(v1::STANDARDIZATION_NONE, v1::IMPUTATION_MEAN);
  v1::DatasetConfig config = SplitConfig();

  EXPECT_THAT(ErrorOf(Created(text, config, spec)),
              HasSubstr("ward.csv:7: column 'z' has no value"));
  EXPECT_THAT(ErrorOf(Created(kGaps, config, Spec(v1::STANDARDIZATION_NONE, {}))),
              HasSubstr("ward.csv:3: column 'x' has no value"));
  config.mutable_csv()->set_on_missing(v1::MISSING_ROWS_DROP);
  const StatusOr<Dataset> dataset = Created(text, config, spec);

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->num_dropped_rows(), 1u);
  EXPECT_EQ(dataset->num_training_rows(), 3u);
}

TEST(ImputationTest, DoesNotTakeTextForAMissingValue) {
  EXPECT_THAT(ErrorOf(Created("x,z,y\nunknown,1,1\n", {},
                              Spec(v1::STANDARDIZATION_NONE, v1::IMPUTATION_MEAN))),
              HasSubstr("ward.csv:2: column 'x' is not a number"));
}

TEST(TargetTest, IsThePlaceOfAClass) {
  v1::DataSpec spec = Spec(v1::STANDARDIZATION_NONE, {});
  spec.mutable_target()->clear_positive();
  for (const char* value : {"benign", "2", "malignant"}) spec.mutable_target()->add_classes(value);

  const StatusOr<Dataset> dataset =
      Created("x,z,y\n1,1,malignant\n1,1,benign\n1,1,2.0\n", {}, spec);

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TRAIN).targets, ElementsAre(2, 0, 1));
  EXPECT_THAT(ErrorOf(Created("x,z,y\n1,1,2\n1,1,3\n", {}, spec)),
              HasSubstr("ward.csv:3: column 'y' holds none of the classes that the job lists"));
}

TEST(TargetTest, IsANumber) {
  v1::DataSpec spec = Spec(v1::STANDARDIZATION_PER_SITE, {});
  spec.mutable_target()->clear_positive();
  spec.mutable_target()->mutable_numeric();

  const StatusOr<Dataset> dataset = Created("x,z,y\n1,1,-2.5\n2,3,0.1\n", {}, spec);

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TRAIN).targets, ElementsAre(-2.5F, 0.1F));
  EXPECT_THAT(dataset->PerSiteExact(v1::SPLIT_TRAIN).targets, ElementsAre(-2.5, 0.1));
  EXPECT_THAT(ErrorOf(Created("x,z,y\n1,1,high\n", {}, spec)),
              HasSubstr("ward.csv:2: column 'y' is not a number"));
  EXPECT_THAT(ErrorOf(Created("x,z,y\n1,1,4e38\n", {}, spec)),
              HasSubstr("ward.csv:2: column 'y' is beyond float32"));
  EXPECT_THAT(ErrorOf(Created("x,z,y\n1,1,\n", {}, spec)),
              HasSubstr("ward.csv:2: column 'y' has no value"));
}

v1::DataSpec SurvivalSpec() {
  v1::DataSpec spec = Spec(v1::STANDARDIZATION_NONE, {});
  spec.mutable_target()->mutable_survival()->set_time_column("days");
  return spec;
}

TEST(TargetTest, IsTimeAndEventOfASurvival) {
  const StatusOr<Dataset> dataset =
      Created("x,z,y,days\n1,1,1,10.5\n1,2,0,0\n1,3,1,7\n", {}, SurvivalSpec());
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  const Examples train = dataset->PerSite(v1::SPLIT_TRAIN);

  EXPECT_EQ(train.num_targets, 2u);
  EXPECT_EQ(train.size(), 3u);
  EXPECT_THAT(train.targets, ElementsAre(10.5, 1, 0, 0, 7, 1));
}

TEST(TargetTest, RefusesATimeThatIsNone) {
  const v1::DataSpec spec = SurvivalSpec();
  EXPECT_THAT(ErrorOf(Created("x,z,y,days\n1,1,1,-1\n", {}, spec)),
              HasSubstr("ward.csv:2: column 'days' is a time and must not be negative"));
  EXPECT_THAT(ErrorOf(Created("x,z,y,days\n1,1,1,soon\n", {}, spec)),
              HasSubstr("ward.csv:2: column 'days' is not a number"));
  EXPECT_THAT(ErrorOf(Created("x,z,y,days\n1,1,1,\n", {}, spec)),
              HasSubstr("ward.csv:2: column 'days' has no value"));
  EXPECT_THAT(ErrorOf(Created("x,z,y,day\n1,1,1,1\n", {}, spec)),
              HasSubstr("data.target.survival.time_column: there is no column 'days'"));
}

class ArrayTest : public testing::Test {
 protected:
  ArrayTest() {
    config_ = SplitConfig();
    config_.add_arrays()->set_column("image");
    config_.mutable_arrays(0)->set_path("images.npy");
    spec_ = Spec(v1::STANDARDIZATION_PER_SITE, {});
    *spec_.add_features() = spec_.features(1);  // x, image, z.
    spec_.mutable_features(1)->set_column("image");
    for (const std::uint64_t size : {2, 2})
      spec_.mutable_features(1)->mutable_array()->add_shape(size);
    WriteNpy<std::uint8_t>(directory_.path() / "images.npy", {3, 2, 2},
                           {0, 51, 102, 153, 255, 255, 255, 255, 204, 0, 0, 0});
  }

  void SetShape(const std::vector<std::uint64_t>& shape) {
    spec_.mutable_features(1)->mutable_array()->clear_shape();
    for (const std::uint64_t size : shape) {
      spec_.mutable_features(1)->mutable_array()->add_shape(size);
    }
  }
  StatusOr<Dataset> Create(std::string_view text) {
    return Created(text, config_, spec_, directory_.path());
  }

  static constexpr std::string_view kImages =
      "x,image,z,y,split\n"
      "-1,2,8,1,train\n"
      "1,0.0,8,0,train\n"
      "3,1,9,0,test\n";

  support::TemporaryDirectory directory_;
  v1::DatasetConfig config_;
  v1::DataSpec spec_;
};

TEST_F(ArrayTest, StandsAsItIsBetweenTheOtherFeatures) {
  const StatusOr<Dataset> dataset = Create(kImages);
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  const Examples train = dataset->PerSite(v1::SPLIT_TRAIN);

  const auto side = static_cast<float>(1 / std::sqrt(2.0));
  EXPECT_EQ(train.num_inputs, 6u);
  EXPECT_THAT(train.inputs, Pointwise(FloatEq(), std::vector<float>{-side, 0.8F, 0, 0, 0, 0,  //
                                                                    side, 0, 0.2F, 0.4F, 0.6F, 0}));
  const float far = static_cast<float>(3 / std::sqrt(2.0));
  EXPECT_THAT(dataset->PerSite(v1::SPLIT_TEST).inputs,
              Pointwise(FloatEq(), std::vector<float>{far, 1, 1, 1, 1, 1}));
  EXPECT_EQ(dataset->PerSiteExact(v1::SPLIT_TRAIN).inputs[1], 0.8);
  EXPECT_EQ(dataset->PreparationSums().size(), 8u);
}

TEST_F(ArrayTest, MayHaveOneChannelThatTheFileDoesNotName) {
  for (const std::vector<std::uint64_t>& shape :
       std::vector<std::vector<std::uint64_t>>{{2, 2}, {1, 2, 2}}) {
    SetShape(shape);
    EXPECT_TRUE(Create(kImages).ok());
  }
  for (const std::vector<std::uint64_t>& shape : std::vector<std::vector<std::uint64_t>>{
           {4}, {2, 2, 1}, {1, 1, 2, 2}, {2, 1, 2}, {3, 2, 2}, {3, 2}, {2}}) {
    SetShape(shape);
    EXPECT_THAT(ErrorOf(Create(kImages)),
                HasSubstr("data.features[1].array.shape must be that of one row of the site's "
                          "file, [2, 2], got ["));
  }
}

TEST_F(ArrayTest, MayBeOneNumberARow) {
  WriteNpy<float>(directory_.path() / "images.npy", {3}, {1.5F, -2, 3});
  SetShape({1});

  const StatusOr<Dataset> dataset = Create(kImages);

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->PerSite(v1::SPLIT_TRAIN).inputs[1], 3);
}

TEST_F(ArrayTest, RefusesPlacesThatAreNotInTheFile) {
  for (const char* place : {"3", "-1", "0.5", "1e300", "first", "18446744073709551616"}) {
    EXPECT_THAT(ErrorOf(Create(WithRow(kImages, std::string("1,") + place + ",1,1,train"))),
                HasSubstr("ward.csv:5: column 'image' is no place in its array file: a whole "
                          "number from 0, below the 3 examples there"))
        << place;
  }
  EXPECT_THAT(ErrorOf(Create(WithRow(kImages, "1,?,1,1,train"))),
              HasSubstr("ward.csv:5: column 'image' has no value"));
}

TEST_F(ArrayTest, RefusesNumbersThatAreNoneInTheRowsThatAreUsed) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  WriteNpy<float>(directory_.path() / "images.npy", {4, 2, 2},
                  {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, kInfinity});

  EXPECT_TRUE(Create(kImages).ok());
  EXPECT_THAT(ErrorOf(Create(WithRow(kImages, "1,3,1,1,test"))),
              HasSubstr("ward.csv:5: column 'image' leads to an array that holds NaN or infinity"));
}

TEST_F(ArrayTest, NeedsAFileForItsColumn) {
  config_.mutable_arrays(0)->set_column("scan");
  EXPECT_THAT(ErrorOf(Create(kImages)),
              HasSubstr("data.features[1].array must have a file: this dataset lists none for "
                        "column 'image' under arrays"));
  config_.mutable_arrays(0)->set_column("image");
  config_.mutable_arrays(0)->set_path("other.npy");
  EXPECT_EQ(Create(kImages).status().code(), StatusCode::kNotFound);
  config_.mutable_arrays(0)->set_path((directory_.path() / "images.npy").string());
  EXPECT_TRUE(Created(kImages, config_, spec_).ok());  // An absolute path.
}

TEST_F(ArrayTest, IsNotOpenedUnlessAJobAsksForIt) {
  config_.mutable_arrays(0)->set_path("not-there.npy");

  EXPECT_TRUE(Created(kImages, config_, Spec(v1::STANDARDIZATION_NONE, {})).ok());
}

TEST_F(ArrayTest, IsNoNumberAndNoCategory) {
  spec_.mutable_features(1)->mutable_numeric();
  EXPECT_THAT(ErrorOf(Create(kImages)), HasSubstr("'image' leads to an array file at this site"));
}

TEST_F(ArrayTest, RefusesAnUnsoundListOfFiles) {
  const auto error_with = [&](const auto& spoil) {
    v1::DatasetConfig config = config_;
    spoil(config);
    return ErrorOf(Created(kImages, config, spec_, directory_.path()));
  };
  EXPECT_THAT(error_with([](auto& c) { c.mutable_arrays(0)->clear_path(); }),
              HasSubstr("arrays[0].path must name a file"));
  EXPECT_THAT(error_with([](auto& c) { c.add_arrays()->set_path("x.npy"); }),
              HasSubstr("arrays[1].column must name a column"));
  EXPECT_THAT(error_with([](auto& c) { *c.add_arrays() = c.arrays(0); }),
              HasSubstr("arrays[1].column must be unique"));
  EXPECT_THAT(error_with([](auto& c) {
                for (int i = 0; i < 16; ++i) {
                  c.add_arrays()->set_column("c" + std::to_string(i));
                  c.mutable_arrays(i + 1)->set_path("x.npy");
                }
              }),
              HasSubstr("arrays must hold at most 16 files, got 17"));
}

TEST_F(ArrayTest, IsSharedByCopiesOfADataset) {
  StatusOr<Dataset> dataset = Create(kImages);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const Dataset copy = *dataset;
  const std::vector<float> before = dataset->PerSite(v1::SPLIT_TRAIN).inputs;
  dataset = NotFound("gone");

  EXPECT_EQ(copy.PerSite(v1::SPLIT_TRAIN).inputs, before);
}

}  // namespace
}  // namespace chorale::data
