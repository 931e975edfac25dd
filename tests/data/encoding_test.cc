#include "data/encoding.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace chorale::data {
namespace {

TEST(EncodingTest, FindsNothingWrongInSoundUtf8) {
  EXPECT_EQ(FindInvalidUtf8(""), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8(std::string(1000, 'a')), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("ärztlich 12 µg/l, 37 °C — œdème"), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("\xF0\x9F\x8F\xA5"), std::nullopt);
}

TEST(EncodingTest, FindsTheFirstByteThatIsNotUtf8) {
  const std::vector<std::string> unsound = {"\x80",         "\xC0\xAF",     "\xC3",
                                            "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                            "\xF5",         "\xE2\x82",     "\xC3("};
  for (const std::string& bytes : unsound) {
    EXPECT_EQ(FindInvalidUtf8("0123456789 é" + bytes), 13u);
  }
}

TEST(EncodingTest, FindsBytesThatWindows1252DoesNotDefine) {
  EXPECT_EQ(FindInvalidWindows1252("M\xFCnchen \x80"), std::nullopt);
  for (const char byte : {'\x81', '\x8D', '\x8F', '\x90', '\x9D'}) {
    EXPECT_EQ(FindInvalidWindows1252(std::string("0123456789\xFC") + byte), 11u);
  }
}

TEST(EncodingTest, ConvertsLatin1AndThePrintableCharactersOfWindows1252) {
  EXPECT_EQ(Windows1252ToUtf8("Gr\xF6\xDF"
                              "e"),
            "Größe");
  EXPECT_EQ(Windows1252ToUtf8("\x80 \x93x\x94 \x96 \x99 \xA0\xFF"), "€ “x” – ™ \u00A0ÿ");
  EXPECT_EQ(Windows1252ToUtf8("plain, 1.5\r\n"), "plain, 1.5\r\n");
}

TEST(EncodingTest, ConvertsEveryDefinedByteToSoundUtf8) {
  for (int byte = 1; byte < 256; ++byte) {
    const std::string text(1, static_cast<char>(byte));
    if (FindInvalidWindows1252(text)) continue;
    EXPECT_EQ(FindInvalidUtf8(Windows1252ToUtf8(text)), std::nullopt) << byte;
  }
}

}  // namespace
}  // namespace chorale::data
