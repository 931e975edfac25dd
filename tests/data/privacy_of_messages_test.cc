#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "tests/data/npy_writer.h"
#include "tests/support/temporary_directory.h"

// Every refusal of this folder, with a value in the table that must not be told.
namespace chorale::data {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kCanary = "CANARY-4711";

v1::DataSpec Spec() {
  v1::DataSpec spec;
  spec.add_features()->set_column("age");
  spec.mutable_features(0)->mutable_numeric();
  spec.add_features()->set_column("cp");
  spec.mutable_features(1)->mutable_categorical()->add_levels("1");
  spec.mutable_features(1)->mutable_categorical()->add_levels("2");
  spec.mutable_target()->set_column("num");
  spec.mutable_target()->add_positive("1");
  spec.set_standardization(v1::STANDARDIZATION_NONE);
  return spec;
}

Status Refusal(const std::string& text, const v1::DatasetConfig& config, const v1::DataSpec& spec) {
  const StatusOr<CsvTable> table = ParseCsv(text, config.csv(), "ward.csv");
  if (!table.ok()) return table.status();
  return Dataset::Create(*table, config, "/nowhere", spec).status();
}

void ExpectSilence(const std::vector<std::string>& tables, const v1::DatasetConfig& config,
                   const v1::DataSpec& spec) {
  for (const std::string& table : tables) {
    const Status status = Refusal(table, config, spec);
    EXPECT_FALSE(status.ok()) << table;
    EXPECT_THAT(MessageOf(status), Not(HasSubstr("CANARY"))) << table;
    EXPECT_THAT(MessageOf(status), HasSubstr("ward.csv")) << table;
  }
}

TEST(PrivacyOfMessagesTest, NeverTellsACell) {
  v1::DatasetConfig config;
  config.set_split_column("split");
  config.set_patient_column("id");
  const std::string c(kCanary);
  const std::string header = "id,age,cp,num,split\n";
  const std::vector<std::string> tables = {
      header + c + ",5," + "1,1\n",                          // Too few cells.
      header + "1,5,1,1,train," + c + "\n",                  // Too many.
      header + "1,5,1,1,train,\n1,5,1,1,train," + c + "\n",  // A value without a name.
      header + "1,5,1,1,\"" + c + "\n",                      // An open quote.
      header + "1,5,1,1,\"" + c + "\"" + c + "\n",           // Text after a quote.
      header + "1,5,1,1," + c + "\xFF\n",                    // Another encoding.
      header + "1," + c + ",1,1,train\n",                    // No number.
      header + "1,5," + c + ",1,train\n",                    // No level.
      header + "1,5,1,1," + c + "\n",                        // No split.
      header + c + ",,1,1,train\n",                          // A missing value.
      header + c + ",5,1,1,test\n",                          // No training row.
      c + "," + c + ",1,1,train\n1,2,3,4,5\n",               // No header: repeated names.
      c + ",5,1,0,train\n1,2,3,4,5\n",                       // No header: no column found.
  };
  ExpectSilence(tables, config, Spec());
}

TEST(PrivacyOfMessagesTest, NeverTellsACellOfATarget) {
  const std::string c(kCanary);
  v1::DataSpec classes = Spec();
  classes.mutable_target()->clear_positive();
  classes.mutable_target()->add_classes("1");
  classes.mutable_target()->add_classes("2");
  v1::DataSpec number = Spec();
  number.mutable_target()->clear_positive();
  number.mutable_target()->mutable_numeric();
  v1::DataSpec survival = Spec();
  survival.mutable_target()->mutable_survival()->set_time_column("time");
  const std::string header = "age,cp,num,time\n";
  const std::string table = header + "5,1," + c + ",7\n";

  ExpectSilence({table, header + "5,1,,7\n" + table}, {}, classes);
  ExpectSilence({table, header + "5,1,47e114711,7\n"}, {}, number);
  ExpectSilence({header + "5,1,1," + c + "\n"}, {}, survival);
  EXPECT_THAT(MessageOf(Refusal(header + "5,1,1,-4711\n", {}, survival)), Not(HasSubstr("4711")));
}

TEST(PrivacyOfMessagesTest, NeverTellsAnImputedColumnsCell) {
  v1::DataSpec spec = Spec();
  spec.mutable_features(0)->mutable_numeric()->set_impute(v1::IMPUTATION_MEAN);

  ExpectSilence({"age,cp,num\n" + std::string(kCanary) + ",1,1\n"}, {}, spec);
}

TEST(PrivacyOfMessagesTest, NeverTellsAPlaceOrANumberOfAnArray) {
  const support::TemporaryDirectory directory;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  WriteNpy(directory.path() / "a.npy", {2, 2}, std::vector<float>{4711, kNan, 4711, 4711});
  v1::DatasetConfig config;
  config.add_arrays()->set_column("place");
  config.mutable_arrays(0)->set_path("a.npy");
  v1::DataSpec spec = Spec();
  spec.mutable_features(0)->set_column("place");
  spec.mutable_features(0)->mutable_array()->add_shape(2);
  for (const char* place : {"4711", "-4711", "CANARY-4711", "1.4711", "0", "\"\""}) {
    const StatusOr<CsvTable> table =
        ParseCsv("place,cp,num\n1,1,1\n" + std::string(place) + ",1,1\n", {}, "ward.csv");
    ASSERT_TRUE(table.ok());

    const Status status = Dataset::Create(*table, config, directory.path(), spec).status();

    EXPECT_THAT(MessageOf(status), HasSubstr("ward.csv:3: column 'place'")) << place;
    EXPECT_THAT(MessageOf(status), Not(HasSubstr("4711"))) << place;
  }
}

}  // namespace
}  // namespace chorale::data
