#include "data/data_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace chorale::data {
namespace {

using ::testing::HasSubstr;

// Two numeric features around a categorical one of three levels.
v1::DataSpec SoundSpec() {
  v1::DataSpec spec;
  spec.add_features()->set_column("age");
  spec.mutable_features(0)->mutable_numeric();
  spec.add_features()->set_column("restecg");
  for (const char* level : {"0", "1", "2"}) {
    spec.mutable_features(1)->mutable_categorical()->add_levels(level);
  }
  spec.add_features()->set_column("chol");
  spec.mutable_features(2)->mutable_numeric();
  spec.mutable_target()->set_column("num");
  spec.mutable_target()->add_positive("1");
  spec.set_standardization(v1::STANDARDIZATION_PER_SITE);
  return spec;
}

TEST(DataSpecTest, AcceptsASoundOne) { EXPECT_TRUE(Validate(SoundSpec(), "data").ok()); }

TEST(DataSpecTest, CountsInputs) {
  EXPECT_EQ(NumInputs(SoundSpec()), 4u);
  EXPECT_EQ(NumNumericFeatures(SoundSpec()), 2u);
  EXPECT_EQ(NumInputs(v1::DataSpec()), 0u);
}

v1::TargetSpec Classes(std::vector<std::string> values) {
  v1::TargetSpec target;
  target.set_column("num");
  for (std::string& value : values) target.add_classes(std::move(value));
  return target;
}

v1::TargetSpec Number() {
  v1::TargetSpec target;
  target.set_column("num");
  target.mutable_numeric();
  return target;
}

v1::TargetSpec Survival() {
  v1::TargetSpec target;
  target.set_column("died");
  target.add_positive("yes");
  target.mutable_survival()->set_time_column("days");
  return target;
}

v1::DataSpec WithArray(const std::vector<std::uint64_t>& shape) {
  v1::DataSpec spec = SoundSpec();
  v1::FeatureSpec& feature = *spec.add_features();
  feature.set_column("image");
  feature.mutable_array();
  for (const std::uint64_t size : shape) feature.mutable_array()->add_shape(size);
  return spec;
}

TEST(DataSpecTest, AcceptsEveryKindOfTargetAndTellsWhichItIs) {
  struct Case {
    v1::TargetSpec target;
    TargetKind kind;
    std::size_t num_targets;
  };
  for (const Case& c :
       {Case{SoundSpec().target(), TargetKind::kBinary, 1},
        Case{Classes({"a", "b", "3"}), TargetKind::kClass, 1},
        Case{Number(), TargetKind::kNumber, 1}, Case{Survival(), TargetKind::kSurvival, 2}}) {
    v1::DataSpec spec = SoundSpec();
    *spec.mutable_target() = c.target;
    EXPECT_TRUE(Validate(spec, "data").ok()) << Validate(spec, "data");
    EXPECT_EQ(TargetKindOf(spec), c.kind);
    EXPECT_EQ(NumTargets(spec), c.num_targets);
  }
}

TEST(DataSpecTest, CountsTheInputsOfIndicatorsAndArrays) {
  v1::DataSpec spec = WithArray({1, 28, 28});
  spec.mutable_features(0)->mutable_numeric()->set_impute(v1::IMPUTATION_MEAN);
  EXPECT_EQ(NumInputs(spec), 4u + 784);
  spec.mutable_features(0)->mutable_numeric()->set_missing_indicator(true);

  EXPECT_TRUE(Validate(spec, "data").ok());
  EXPECT_EQ(NumInputs(spec), 5u + 784);
  EXPECT_EQ(NumNumericFeatures(spec), 2u);
}

TEST(DataSpecTest, AcceptsTheLargestArrayAndNotOneNumberMore) {
  EXPECT_TRUE(Validate(WithArray({4096, 4096}), "data").ok());
  EXPECT_TRUE(Validate(WithArray({16, 16, 256, 256}), "data").ok());
  EXPECT_FALSE(Validate(WithArray({(1 << 24) + 1}), "data").ok());
}

TEST(DataSpecTest, CountsShapesThatOverflowWithoutWrappingAround) {
  constexpr std::uint64_t kBig = std::uint64_t{1} << 33;
  const v1::DataSpec spec = WithArray({kBig, kBig});

  EXPECT_EQ(NumInputs(spec), std::numeric_limits<std::size_t>::max());
  EXPECT_EQ(NumNumbers(spec.features(3).array()), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(NumNumbers(WithArray({kBig, kBig, 0}).features(3).array()), 0u);
}

TEST(DataSpecTest, TakesAMedianFromAPreparationRoundAlone) {
  v1::DataSpec spec = SoundSpec();
  spec.mutable_features(2)->mutable_numeric()->set_impute(v1::IMPUTATION_MEDIAN);
  for (const auto& [standardization, is_ok] :
       {std::pair{v1::STANDARDIZATION_NONE, false}, std::pair{v1::STANDARDIZATION_PER_SITE, false},
        std::pair{v1::STANDARDIZATION_FEDERATED, true},
        std::pair{v1::STANDARDIZATION_FEDERATED_ROBUST, true}}) {
    spec.set_standardization(standardization);
    const Status status = Validate(spec, "data");
    EXPECT_EQ(status.ok(), is_ok) << standardization;
    EXPECT_EQ(MessageOf(status).starts_with("data.features[2].numeric.impute median"), !is_ok);
  }
}

TEST(DataSpecTest, ChecksSixtyFiveThousandClassesWithoutComparingEachWithEach) {
  std::vector<std::string> values;
  for (int i = 0; i < 65536; ++i) values.push_back("C" + std::to_string(i));
  v1::DataSpec spec = SoundSpec();
  *spec.mutable_target() = Classes(values);
  EXPECT_TRUE(Validate(spec, "data").ok());

  values.back() = "C7";
  *spec.mutable_target() = Classes(values);

  EXPECT_THAT(MessageOf(Validate(spec, "data")), HasSubstr("data.target.classes[65535]"));
}

TEST(DataSpecTest, NamesTheFieldOfEveryBrokenRule) {
  struct Case {
    std::string field;
    std::function<void(v1::DataSpec&)> spoil;
  };
  const std::vector<Case> cases = {
      {"data.features[0].numeric.impute",
       [](auto& s) {
         s.mutable_features(0)->mutable_numeric()->set_impute(static_cast<v1::Imputation>(9));
       }},
      {"data.features[0].numeric.missing_indicator",
       [](auto& s) { s.mutable_features(0)->mutable_numeric()->set_missing_indicator(true); }},
      {"data.features[3].array.shape", [](auto& s) { s = WithArray({}); }},
      {"data.features[3].array.shape",
       [](auto& s) {
         s = WithArray({1, 1, 1, 1, 1});
       }},
      {"data.features[3].array.shape",
       [](auto& s) {
         s = WithArray({28, 0});
       }},
      {"data.features[3].array.shape",
       [](auto& s) {
         s = WithArray({4097, 4096});
       }},
      {"data.target must have exactly one", [](auto& s) { s.mutable_target()->mutable_numeric(); }},
      {"data.target must have exactly one", [](auto& s) { s.mutable_target()->add_classes("1"); }},
      {"data.target.classes ", [](auto& s) { *s.mutable_target() = Classes({"1"}); }},
      {"data.target.classes ",
       [](auto& s) {
         std::vector<std::string> values;
         for (int i = 0; i < 65537; ++i) values.push_back(std::to_string(i));
         *s.mutable_target() = Classes(values);
       }},
      {"data.target.classes[2]",
       [](auto& s) {
         *s.mutable_target() = Classes({"1", "2", "1.0"});
       }},
      {"data.target.classes[1]",
       [](auto& s) {
         *s.mutable_target() = Classes({"1", ""});
       }},
      {"data.target.survival needs positive",
       [](auto& s) {
         *s.mutable_target() = Survival();
         s.mutable_target()->clear_positive();
       }},
      {"data.target must have exactly one",
       [](auto& s) {
         *s.mutable_target() = Survival();
         s.mutable_target()->mutable_numeric();
       }},
      {"data.target.survival.time_column",
       [](auto& s) {
         *s.mutable_target() = Survival();
         s.mutable_target()->mutable_survival()->clear_time_column();
       }},
      {"data.target.survival.time_column is features[2]",
       [](auto& s) {
         *s.mutable_target() = Survival();
         s.mutable_target()->mutable_survival()->set_time_column("chol");
       }},
      {"data.target.survival.time_column must be another",
       [](auto& s) {
         *s.mutable_target() = Survival();
         s.mutable_target()->mutable_survival()->set_time_column("died");
       }},
      {"data.features ", [](auto& s) { s.clear_features(); }},
      {"data.features ",
       [](auto& s) {
         for (int i = 0; i < 4097; ++i) s.add_features()->set_column("c" + std::to_string(i));
       }},
      {"data.features[0] ", [](auto& s) { s.mutable_features(0)->clear_kind(); }},
      {"data.features[0].column", [](auto& s) { s.mutable_features(0)->clear_column(); }},
      {"data.features[0].column", [](auto& s) { s.mutable_features(0)->set_column("a\nb"); }},
      {"data.features[0].column",
       [](auto& s) { s.mutable_features(0)->set_column(std::string(257, 'a')); }},
      {"data.features[2].column", [](auto& s) { s.mutable_features(2)->set_column("age"); }},
      {"data.features[1].categorical.levels ",
       [](auto& s) { s.mutable_features(1)->mutable_categorical()->clear_levels(); }},
      {"data.features[1].categorical.levels ",
       [](auto& s) {
         for (int i = 0; i < 255; ++i) {
           s.mutable_features(1)->mutable_categorical()->add_levels("x" + std::to_string(i));
         }
       }},
      {"data.features[1].categorical.levels[2]",
       [](auto& s) { s.mutable_features(1)->mutable_categorical()->set_levels(2, "1.0"); }},
      {"data.features[1].categorical.levels[0]",
       [](auto& s) { s.mutable_features(1)->mutable_categorical()->set_levels(0, ""); }},
      {"data.target.column", [](auto& s) { s.mutable_target()->clear_column(); }},
      {"data.target.column", [](auto& s) { s.mutable_target()->set_column("chol"); }},
      {"data.target must have exactly one of positive, classes and numeric, got 0",
       [](auto& s) { s.mutable_target()->clear_positive(); }},
      {"data.target.positive ",
       [](auto& s) {
         for (int i = 2; i < 18; ++i) s.mutable_target()->add_positive(std::to_string(i));
       }},
      {"data.target.positive[1]", [](auto& s) { s.mutable_target()->add_positive("1.00"); }},
      {"data.standardization", [](auto& s) { s.clear_standardization(); }},
      {"data.standardization",
       [](auto& s) { s.set_standardization(static_cast<v1::Standardization>(77)); }},
  };
  for (const Case& c : cases) {
    v1::DataSpec spec = SoundSpec();
    c.spoil(spec);
    const Status status = Validate(spec, "data");
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << c.field;
    EXPECT_THAT(MessageOf(status), HasSubstr(c.field));
  }
}

TEST(DataSpecTest, AsksForARangeWhereRangesStandardise) {
  v1::DataSpec spec = SoundSpec();
  spec.set_standardization(v1::STANDARDIZATION_RANGE);
  const auto range = [&spec](int feature, double low, double high) {
    v1::ValueRange& own = *spec.mutable_features(feature)->mutable_numeric()->mutable_range();
    own.set_low(low);
    own.set_high(high);
  };
  EXPECT_THAT(MessageOf(Validate(spec, "data")), HasSubstr("features[0].numeric.range"));
  range(0, 0, 120);
  range(2, 600, 100);
  EXPECT_THAT(MessageOf(Validate(spec, "data")), HasSubstr("a finite low below a finite high"));
  range(2, -1e308, 1e308);  // The width is not finite.
  EXPECT_FALSE(Validate(spec, "data").ok());
  range(2, 100, std::numeric_limits<double>::quiet_NaN());
  EXPECT_FALSE(Validate(spec, "data").ok());
  range(2, 100, 600);
  EXPECT_TRUE(Validate(spec, "data").ok());
}

TEST(DataSpecTest, AsksForARangeWhereNoiseTellsMeansAndLetsThemStandForMissingValues) {
  v1::DataSpec spec = SoundSpec();
  spec.set_standardization(v1::STANDARDIZATION_FEDERATED_PRIVATE);
  EXPECT_THAT(MessageOf(Validate(spec, "data")), HasSubstr("features[0].numeric.range"));
  for (const int feature : {0, 2}) {
    spec.mutable_features(feature)->mutable_numeric()->mutable_range()->set_high(120);
  }
  EXPECT_TRUE(Validate(spec, "data").ok()) << Validate(spec, "data");
  EXPECT_TRUE(IsFederated(spec.standardization()) && HasRanges(spec.standardization()));
  v1::NumericFeature& age = *spec.mutable_features(0)->mutable_numeric();
  for (const auto& [impute, is_sound] :
       {std::pair{v1::IMPUTATION_MEAN, true}, std::pair{v1::IMPUTATION_MIDDLE, true},
        std::pair{v1::IMPUTATION_MEDIAN, false}}) {
    age.set_impute(impute);
    EXPECT_EQ(Validate(spec, "data").ok(), is_sound) << impute;
  }
}

TEST(DataSpecTest, LetsNothingButTheMiddleOfARangeStandForMissingValues) {
  v1::DataSpec spec = SoundSpec();
  v1::NumericFeature& age = *spec.mutable_features(0)->mutable_numeric();
  age.set_impute(v1::IMPUTATION_MIDDLE);
  EXPECT_THAT(MessageOf(Validate(spec, "data")), HasSubstr("middle needs standardization range"));

  age.mutable_range()->set_high(120);
  age.set_impute(v1::IMPUTATION_MEAN);
  EXPECT_THAT(MessageOf(Validate(spec, "data")), HasSubstr("needs standardization range"));
  spec.set_standardization(v1::STANDARDIZATION_RANGE);
  EXPECT_THAT(MessageOf(Validate(spec, "data")), HasSubstr("must be middle"));
}

}  // namespace
}  // namespace chorale::data
