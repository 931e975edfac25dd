#include "data/csv_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/temporary_directory.h"

namespace chorale::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::CsvConnector Delimited(const std::string& delimiter) {
  v1::CsvConnector options;
  options.set_delimiter(delimiter);
  return options;
}

CsvTable Parsed(std::string_view text, const v1::CsvConnector& options = {}) {
  StatusOr<CsvTable> table = ParseCsv(text, options, "ward.csv");
  EXPECT_TRUE(table.ok()) << table.status();
  return table.ok() ? *std::move(table) : CsvTable{};
}

std::string ErrorOf(std::string_view text, const v1::CsvConnector& options = {}) {
  const StatusOr<CsvTable> table = ParseCsv(text, options, "ward.csv");
  EXPECT_EQ(table.status().code(), StatusCode::kInvalidArgument);
  return MessageOf(table.status());
}

TEST(CsvReaderTest, ReadsNamesAndCells) {
  const CsvTable table = Parsed("age,sex\n63,1\n67,0\n");

  EXPECT_THAT(table.columns, ElementsAre("age", "sex"));
  EXPECT_THAT(table.rows, ElementsAre(ElementsAre("63", "1"), ElementsAre("67", "0")));
  EXPECT_THAT(table.lines, ElementsAre(2u, 3u));
  EXPECT_EQ(table.file_name, "ward.csv");
}

TEST(CsvReaderTest, ReadsEveryLineEndAndNoneAtTheEnd) {
  for (const std::string text : {"a,b\n1,2\n3,4", "a,b\r\n1,2\r\n3,4\r\n", "a,b\r1,2\r3,4\r",
                                 "a,b\n1,2\r\n3,4\r", "\n\na,b\n\n1,2\n \t\n3,4\n\n\n"}) {
    EXPECT_THAT(Parsed(text).rows, ElementsAre(ElementsAre("1", "2"), ElementsAre("3", "4")));
  }
}

TEST(CsvReaderTest, CountsLinesThroughBlankLinesAndQuotedLineEnds) {
  const CsvTable table = Parsed("a,b\r\n\r\n\"x\r\ny\rz\nw\",1\r\n2,3\n");

  EXPECT_THAT(table.lines, ElementsAre(3u, 7u));
  EXPECT_EQ(table.rows[0][0], "x\r\ny\rz\nw");
}

TEST(CsvReaderTest, UnquotesCells) {
  const CsvTable table = Parsed("\"a\",\"b,c\"\n\"say \"\"hi\"\"\",\"\"\n  \"1\"  ,\"\"\"\"\n");

  EXPECT_THAT(table.columns, ElementsAre("a", "b,c"));
  EXPECT_THAT(table.rows[0], ElementsAre("say \"hi\"", ""));
  EXPECT_THAT(table.rows[1], ElementsAre("1", "\""));
}

TEST(CsvReaderTest, LeavesAQuoteInsideAnUnquotedCell) {
  EXPECT_THAT(Parsed("a,b\n5\" tube,x\"y\"\n").rows[0], ElementsAre("5\" tube", "x\"y\""));
}

TEST(CsvReaderTest, TrimsWhiteSpaceAndNoBreakSpaces) {
  EXPECT_THAT(Parsed("a, b \n\t1 ,\xC2\xA0two words\xC2\xA0 \n").rows[0],
              ElementsAre("1", "two words"));
  EXPECT_EQ(Parsed("a\n\" 1 \"\n").rows[0][0], "1");
}

TEST(CsvReaderTest, ReadsOtherDelimiters) {
  EXPECT_THAT(Parsed("a;b\n1,5;2\n", Delimited(";")).rows[0], ElementsAre("1,5", "2"));
  EXPECT_THAT(Parsed("a|b\n1|2\n", Delimited("|")).rows[0], ElementsAre("1", "2"));
  EXPECT_THAT(Parsed("a b\n1 \"2 3\"\n", Delimited(" ")).rows[0], ElementsAre("1", "2 3"));
}

TEST(CsvReaderTest, TakesTabsForEmptyCellsNotForWhiteSpace) {
  const CsvTable table = Parsed("a\tb\tc\n\t\t\n1\t\t\"3\"\n", Delimited("\t"));

  EXPECT_THAT(table.rows, ElementsAre(ElementsAre("", "", ""), ElementsAre("1", "", "3")));
}

TEST(CsvReaderTest, SkipsAByteOrderMark) {
  EXPECT_THAT(Parsed("\xEF\xBB\xBF\"a\",b\n1,2\n").columns, ElementsAre("a", "b"));
}

TEST(CsvReaderTest, ReadsUtf8AndLatin1AsTheSameText) {
  v1::CsvConnector latin1;
  latin1.set_encoding("latin-1");

  const CsvTable from_utf8 = Parsed("größe,b\né,2\n");
  const CsvTable from_latin1 = Parsed(
      "gr\xF6\xDF"
      "e,b\n\xE9,2\n",
      latin1);

  EXPECT_EQ(from_latin1.columns, from_utf8.columns);
  EXPECT_EQ(from_latin1.rows, from_utf8.rows);
}

TEST(CsvReaderTest, TakesNamesFromTheConfigurationForAFileWithoutHeader) {
  v1::CsvConnector options;
  options.add_columns("age");
  options.add_columns("sex");

  const CsvTable table = Parsed("63,1\n67,0\n", options);

  EXPECT_THAT(table.columns, ElementsAre("age", "sex"));
  EXPECT_THAT(table.lines, ElementsAre(1u, 2u));
}

TEST(CsvReaderTest, DropsUnnamedEmptyColumnsAtTheEnd) {
  for (const std::string text : {"a,b,\n1,2,\n3,4,\n", "a,b\n1,2,\n3,4,\n", "a,b,\n1,2\n3,4\n",
                                 "a,b,,,\n1,2,,,\n3,4,,,\n"}) {
    const CsvTable table = Parsed(text);
    EXPECT_THAT(table.columns, ElementsAre("a", "b"));
    EXPECT_THAT(table.rows, ElementsAre(ElementsAre("1", "2"), ElementsAre("3", "4")));
  }
}

TEST(CsvReaderTest, RefusesADelimiterAtTheEndOfSomeLinesOnly) {
  EXPECT_EQ(ErrorOf("a,b\n1,2,\n3,4\n"), "ward.csv:3: the row has 2 cells, expected 3");
  EXPECT_EQ(ErrorOf("a,b\n1,2\n3,4,\n"), "ward.csv:3: the row has 3 cells, expected 2");
}

TEST(CsvReaderTest, RefusesAValueWithoutAName) {
  EXPECT_THAT(ErrorOf("a,b,\n1,2,\n3,4,5\n"),
              HasSubstr("ward.csv:3: there is a value in column 3"));
}

TEST(CsvReaderTest, KeepsAnUnnamedColumnAmongOthers) {
  EXPECT_THAT(Parsed("\"\",a,,b\n1,2,3,4\n").columns, ElementsAre("", "a", "", "b"));
}

TEST(CsvReaderTest, RefusesARowOfAnotherWidth) {
  EXPECT_EQ(ErrorOf("a,b\n1,2\n3\n"), "ward.csv:3: the row has 1 cell, expected 2");
  EXPECT_EQ(ErrorOf("a,b\n1,2,3,4\n"), "ward.csv:2: the row has 4 cells, expected 2");
}

TEST(CsvReaderTest, RefusesRepeatedNamesByPosition) {
  EXPECT_THAT(ErrorOf("age,sex, age\n1,2,3\n"),
              HasSubstr("ward.csv:1: columns 1 and 3 have the same name"));
}

TEST(CsvReaderTest, RefusesAFileWithoutAHeader) {
  for (const std::string text : {"", "\n", "  \r\n\r\n", "\xEF\xBB\xBF"}) {
    EXPECT_THAT(ErrorOf(text), HasSubstr("no header row"));
  }
  EXPECT_THAT(ErrorOf(",,\n1,2,3\n"), HasSubstr("names no column"));
}

TEST(CsvReaderTest, ReadsAFileOfAHeaderAlone) { EXPECT_TRUE(Parsed("a,b\n").rows.empty()); }

TEST(CsvReaderTest, RefusesAQuoteThatNeverCloses) {
  EXPECT_EQ(ErrorOf("a,b\n1,2\n3,\"4\n5,6\n"), "ward.csv:3: a quote opens here and never closes");
}

TEST(CsvReaderTest, RefusesTextAfterAClosingQuote) {
  EXPECT_THAT(ErrorOf("a,b\n\"x\"y,2\n"), HasSubstr("ward.csv:2: a closing quote is followed"));
}

TEST(CsvReaderTest, RefusesBytesThatAreNotOfTheEncoding) {
  v1::CsvConnector latin1;
  latin1.set_encoding("latin-1");

  EXPECT_EQ(ErrorOf("a\n1\r\ncaf\xE9\n"),
            "ward.csv:3: a byte is not UTF-8; for Latin-1 set csv.encoding: latin-1");
  EXPECT_THAT(ErrorOf("a\n\x81\n", latin1), HasSubstr("ward.csv:2: a byte is not Latin-1"));
  EXPECT_THAT(ErrorOf("\xEF\xBB\xBF"
                      "a\n1\n",
                      latin1),
              HasSubstr("set csv.encoding: utf-8"));
  EXPECT_THAT(ErrorOf(std::string("\xFF\xFE"
                                  "a\0\n\0",
                                  6)),
              HasSubstr("UTF-16"));
  EXPECT_THAT(ErrorOf(std::string("a\n1\n\0", 5)), HasSubstr("ward.csv:3: there is a NUL byte"));
}

TEST(CsvReaderTest, RefusesCellsOverOneMebibyte) {
  const std::string most(std::size_t{1} << 20, 'x');
  const auto code_of = [](const std::string& text) {
    return ParseCsv(text, {}, "ward.csv").status().code();
  };

  EXPECT_EQ(code_of("a\n" + most + "\n"), StatusCode::kOk);
  EXPECT_EQ(code_of("a\n" + most + "x\n"), StatusCode::kResourceExhausted);
  EXPECT_EQ(code_of("a\n\"" + most + "\"\n"), StatusCode::kOk);
  EXPECT_EQ(code_of("a\n\"" + most + "x\"\n"), StatusCode::kResourceExhausted);
  EXPECT_EQ(code_of("a\n\"" + most + "x\n"), StatusCode::kResourceExhausted);
}

TEST(CsvReaderTest, RefusesOver65536Columns) {
  std::string header = "c0";
  for (int i = 1; i < 65536; ++i) header += ",c" + std::to_string(i);

  EXPECT_TRUE(ParseCsv(header + "\n", {}, "ward.csv").ok());
  EXPECT_EQ(ParseCsv(header + ",x\n", {}, "ward.csv").status().code(),
            StatusCode::kResourceExhausted);
}

TEST(CsvReaderTest, RefusesOptionsThatCannotBe) {
  const auto error_of = [](auto spoil) {
    v1::CsvConnector options;
    spoil(options);
    const Status status = Validate(options, "datasets[0].csv");
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return MessageOf(status);
  };

  for (const char* delimiter : {",,", "a", "5", "\"", "\n", ".", "-", "é", "\x01"}) {
    EXPECT_THAT(error_of([&](auto& o) { o.set_delimiter(delimiter); }),
                HasSubstr("datasets[0].csv.delimiter"));
  }
  EXPECT_THAT(error_of([](auto& o) { o.set_decimal(";"); }), HasSubstr("csv.decimal"));
  EXPECT_THAT(error_of([](auto& o) { o.set_decimal(","); }), HasSubstr("csv.delimiter"));
  EXPECT_THAT(error_of([](auto& o) { o.set_encoding("utf-16"); }), HasSubstr("csv.encoding"));
  EXPECT_THAT(error_of([](auto& o) { o.set_on_missing(static_cast<v1::MissingRows>(9)); }),
              HasSubstr("csv.on_missing"));
  EXPECT_THAT(ErrorOf("a\n1\n", Delimited("xx")), HasSubstr("csv.delimiter"));
}

TEST(CsvReaderTest, ReadsAFileAndNamesItWithoutItsDirectory) {
  const support::TemporaryDirectory directory;
  const auto path = directory.path() / "export.csv";
  std::ofstream(path) << "a,b\n1,2\n3\n";

  EXPECT_EQ(MessageOf(ReadCsv(path, {}).status()), "export.csv:3: the row has 1 cell, expected 2");
  EXPECT_EQ(ReadCsv(directory.path() / "none.csv", {}).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace chorale::data
