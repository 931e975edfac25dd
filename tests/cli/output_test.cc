#include "cli/output.h"

#include <google/protobuf/timestamp.pb.h>
#include <gtest/gtest.h>

#include <sstream>

#include "chorale/v1/jobs.pb.h"

namespace chorale::cli {
namespace {

TEST(OutputTest, TakesTheTeethOutOfEscapeSequences) {
  EXPECT_EQ(Printable("a\x1b[2Jb"), "a?[2Jb");
  EXPECT_EQ(Printable("bell\a tab\t"), "bell? tab?");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "31m"),
            "?31m");
  EXPECT_EQ(Printable("\xe2\x80\xae"
                      "gnp.exe"),
            "?gnp.exe");
}

TEST(OutputTest, KeepsTextAndLineEnds) {
  EXPECT_EQ(Printable("H\xc3\xb4pital\nsite"), "H\xc3\xb4pital\nsite");
}

TEST(OutputTest, ReplacesWhatIsNotUtf8) { EXPECT_EQ(Printable("a\xff\xc3"), "a??"); }

TEST(OutputTest, PrintsJsonWithFieldNamesOfTheProtoAndDefaults) {
  v1::SiteSummary site;
  site.set_site("north");

  const auto json = ToJson(site, JsonStyle::kLine);

  ASSERT_TRUE(json.ok());
  EXPECT_NE(json->find("\"is_connected\":false"), std::string::npos) << *json;
  EXPECT_NE(json->find("\"agent_version\":\"\""), std::string::npos) << *json;
  EXPECT_EQ(json->find('\n'), std::string::npos);
}

TEST(OutputTest, AlignsColumns) {
  Table table({"SITE", "STATE"});
  table.AddRow({"north", "in"});
  std::ostringstream out;

  table.Print(out);

  EXPECT_EQ(out.str(), "SITE   STATE\nnorth  in\n");
}

TEST(OutputTest, FormatsBytesInDecimalUnits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1500), "1.5 kB");
  EXPECT_EQ(FormatBytes(123'000'000), "123 MB");
  EXPECT_EQ(FormatBytes(1'000'000'000'000), "1.0 TB");
}

TEST(OutputTest, ShowsTimesInUtcAndUnsetOnesAsADash) {
  google::protobuf::Timestamp time;
  time.set_seconds(1'800'000'000);

  EXPECT_EQ(TimeCell(true, time), "2027-01-15 08:00:00");
  EXPECT_EQ(TimeCell(false, time), "-");
}

}  // namespace
}  // namespace chorale::cli
