#include "data/columns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace chorale::data {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

CsvTable WithColumns(std::vector<std::string> columns) {
  CsvTable table;
  table.columns = std::move(columns);
  table.file_name = "ward.csv";
  return table;
}

TEST(ColumnIndexTest, FindsAColumnByName) {
  const CsvTable table = WithColumns({"age", "trestbps"});

  EXPECT_EQ(*ColumnIndex(table).Find("trestbps", "f"), 1u);
}

TEST(ColumnIndexTest, NamesFieldAndNearestColumn) {
  const CsvTable table = WithColumns({"age", "trestbps", "chol"});

  const Status status = ColumnIndex(table).Find("tresbps", "data.features[1].column").status();

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(status),
            "ward.csv: data.features[1].column: there is no column 'tresbps' among the 3 of the "
            "table; the nearest is 'trestbps'");
}

TEST(ColumnIndexTest, TellsNoColumnThatIsFar) {
  const CsvTable table = WithColumns({"insurance_number"});

  EXPECT_THAT(MessageOf(ColumnIndex(table).Find("age", "f").status()), Not(HasSubstr("nearest")));
}

// In a file without a header row these are a patient's values.
TEST(ColumnIndexTest, TellsNoNameThatMayBeAValue) {
  const CsvTable table = WithColumns({"63.0", "2,3", "F", "x\x1B[2J"});
  const ColumnIndex index(table);

  for (const char* name : {"63.1", "2,4", "M", "x\x1B[3J"}) {
    EXPECT_THAT(MessageOf(index.Find(name, "f").status()), Not(HasSubstr("nearest")));
  }
}

TEST(ColumnIndexTest, FindsNoUnnamedColumn) {
  const CsvTable table = WithColumns({"", "age"});

  EXPECT_FALSE(ColumnIndex(table).Find("", "f").ok());
}

}  // namespace
}  // namespace chorale::data
