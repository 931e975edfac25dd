#include "data/data_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
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

TEST(DataSpecTest, NamesTheFieldOfEveryBrokenRule) {
  struct Case {
    std::string field;
    std::function<void(v1::DataSpec&)> spoil;
  };
  const std::vector<Case> cases = {
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
      {"data.target.positive ", [](auto& s) { s.mutable_target()->clear_positive(); }},
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

}  // namespace
}  // namespace chorale::data
