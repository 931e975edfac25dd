#include "core/log_format.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/random.h"
#include "core/utf8.h"

namespace chorale::log {
namespace {

constexpr Time kNow{std::chrono::microseconds(1'795'000'000'123'456)};

Record RecordOf(const std::vector<Field>& fields) {
  return {.time = kNow, .level = Level::kInfo, .event = "round.published", .fields = fields};
}

std::string TextOf(std::string_view value) {
  const std::vector<Field> fields = {{"reason", value}};
  const std::string line = FormatText(RecordOf(fields));
  return line.substr(line.find("reason=") + 7);
}

std::string JsonOf(const Field& field) {
  const std::vector<Field> fields = {field};
  const std::string line = FormatJson(RecordOf(fields));
  const std::size_t start = line.find(":", line.find("\"field\"")) + 1;
  return line.substr(start, line.size() - 1 - start);
}

TEST(LogFormatTest, TextHasTimeLevelEventAndFields) {
  const std::vector<Field> fields = {
      {"job", "j-1"}, {"round", 3}, {"loss", 0.25}, {"is_last", false}};

  EXPECT_EQ(
      FormatText(RecordOf(fields)),
      "2026-11-18T11:06:40.123Z INFO round.published job=j-1 round=3 loss=0.25 is_last=false");
}

TEST(LogFormatTest, JsonHasTimeLevelEventAndFields) {
  const std::vector<Field> fields = {
      {"job", "j-1"}, {"round", 3}, {"loss", 0.25}, {"is_last", false}};

  EXPECT_EQ(FormatJson(RecordOf(fields)),
            "{\"ts\":\"2026-11-18T11:06:40.123Z\",\"level\":\"info\",\"event\":\"round.published\","
            "\"job\":\"j-1\",\"round\":3,\"loss\":0.25,\"is_last\":false}");
}

TEST(LogFormatTest, TextQuotesWhatCouldBeMistaken) {
  EXPECT_EQ(TextOf(""), "\"\"");
  EXPECT_EQ(TextOf("two words"), "\"two words\"");
  EXPECT_EQ(TextOf("a=b"), "\"a=b\"");
  EXPECT_EQ(TextOf("say \"hi\"\\"), "\"say \\\"hi\\\"\\\\\"");
  EXPECT_EQ(TextOf("127.0.0.1:7443"), "127.0.0.1:7443");
}

TEST(LogFormatTest, AValueCannotForgeALine) {
  EXPECT_EQ(TextOf("x\n2026-01-01T00:00:00.000Z ERROR forged"),
            "\"x\\n2026-01-01T00:00:00.000Z ERROR forged\"");
  EXPECT_EQ(TextOf("x\r\v\f"), "\"x\\u000d\\u000b\\u000c\"");
  EXPECT_EQ(TextOf("x\xe2\x80\xa8y"), "\"x\\u2028y\"");
}

TEST(LogFormatTest, AValueCannotDriveATerminal) {
  EXPECT_EQ(TextOf("\x1b[2J"), "\"\\u001b[2J\"");
  EXPECT_EQ(TextOf("\xc2\x9b"
                   "2J"),
            "\"\\u009b2J\"");
  EXPECT_EQ(TextOf("\xe2\x80\xae"
                   "evil"),
            "\"\\u202eevil\"");
}

TEST(LogFormatTest, AnEventAndAKeyAreEscapedToo) {
  const std::vector<Field> fields = {{"a b", 1}};
  const Record record{.time = kNow, .level = Level::kError, .event = "x\ny", .fields = fields};

  EXPECT_EQ(FormatText(record), "2026-11-18T11:06:40.123Z ERROR \"x\\ny\" \"a b\"=1");
}

TEST(LogFormatTest, JsonEscapesStrings) {
  EXPECT_EQ(JsonOf({"field", "\"\\\n\t\x01"}), "\"\\\"\\\\\\n\\t\\u0001\"");
  EXPECT_EQ(JsonOf({"field", "h\xc3\xb4pital"}), "\"h\xc3\xb4pital\"");
  EXPECT_EQ(JsonOf({"field", "h\xf4pital"}), "\"h\\ufffdpital\"");
}

TEST(LogFormatTest, JsonHasNoNumberThatIsNotFinite) {
  EXPECT_EQ(JsonOf({"field", std::numeric_limits<double>::quiet_NaN()}), "\"nan\"");
  EXPECT_EQ(JsonOf({"field", -std::numeric_limits<double>::infinity()}), "\"-inf\"");
}

TEST(LogFormatTest, AnyBytesGiveOneLineOfPrintableText) {
  SeededRandom random(3);
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::uint8_t> bytes(random.NextBelow(40));
    random.Fill(bytes);
    const std::vector<Field> fields = {
        {"field", std::string_view(reinterpret_cast<char*>(bytes.data()), bytes.size())}};

    for (std::string_view line : {FormatText(RecordOf(fields)), FormatJson(RecordOf(fields))}) {
      while (!line.empty()) {
        const CodePoint point = DecodeUtf8(line);
        ASSERT_TRUE(point.is_valid && !IsUnsafeToShow(point.value));
        line.remove_prefix(point.size_bytes);
      }
    }
  }
}

}  // namespace
}  // namespace chorale::log
