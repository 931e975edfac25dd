#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"

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

Status Refusal(const std::string& text, const v1::DatasetConfig& config) {
  const StatusOr<CsvTable> table = ParseCsv(text, config.csv(), "ward.csv");
  if (!table.ok()) return table.status();
  return Dataset::Create(*table, config, Spec()).status();
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
  for (const std::string& table : tables) {
    const Status status = Refusal(table, config);
    EXPECT_FALSE(status.ok()) << table;
    EXPECT_THAT(MessageOf(status), Not(HasSubstr("CANARY"))) << table;
    EXPECT_THAT(MessageOf(status), HasSubstr("ward.csv")) << table;
  }
}

}  // namespace
}  // namespace chorale::data
