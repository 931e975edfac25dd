#include "data/values.h"

#include <gtest/gtest.h>

#include <clocale>
#include <string>
#include <vector>

namespace chorale::data {
namespace {

TEST(ParseNumberTest, ReadsTheFormsThatExportsUse) {
  EXPECT_EQ(ParseNumber("63", '.'), 63);
  EXPECT_EQ(ParseNumber("-9", '.'), -9);
  EXPECT_EQ(ParseNumber("+2.5", '.'), 2.5);
  EXPECT_EQ(ParseNumber(".7", '.'), .7);
  EXPECT_EQ(ParseNumber("1.", '.'), 1);
  EXPECT_EQ(ParseNumber("1e-3", '.'), 0.001);
  EXPECT_EQ(ParseNumber("0.1", '.'), 0.1);
}

TEST(ParseNumberTest, ReadsADecimalComma) {
  EXPECT_EQ(ParseNumber("2,3", ','), 2.3);
  EXPECT_EQ(ParseNumber("-,5", ','), -0.5);
  EXPECT_EQ(ParseNumber("7", ','), 7);
}

TEST(ParseNumberTest, TakesNothingElseForANumber) {
  const std::vector<std::string> texts = {
      "",    "?",  "nan", "NaN",  "inf",   "-inf",  "infinity", "0x1",  "1f",
      "1 2", " 1", "1 ",  "1..2", "1.2.3", "--1",   "+-1",      "+",    "-",
      ".",   "e5", "1e",  "1,5",  "1e999", "1_000", "\xC2\xB2", "12 mg"};
  for (const std::string& text : texts) EXPECT_EQ(ParseNumber(text, '.'), std::nullopt) << text;
  EXPECT_EQ(ParseNumber("1.234,5", ','), std::nullopt);
  EXPECT_EQ(ParseNumber("1.5", ','), std::nullopt);
  EXPECT_EQ(ParseNumber(std::string(129, '1'), '.'), std::nullopt);
}

TEST(ParseNumberTest, DoesNotDependOnTheLocale) {
  // Absent locales leave "C" in place, which passes as well.
  const std::string before = std::setlocale(LC_NUMERIC, nullptr);
  std::setlocale(LC_NUMERIC, "de_DE.UTF-8");

  EXPECT_EQ(ParseNumber("2.5", '.'), 2.5);

  std::setlocale(LC_NUMERIC, before.c_str());
}

TEST(ValueListTest, FindsTheSameText) {
  const ValueList list({"?", "NA"});

  EXPECT_EQ(list.Find("NA", '.'), 1u);
  EXPECT_EQ(list.Find("na", '.'), std::nullopt);
  EXPECT_EQ(list.Find("", '.'), std::nullopt);
}

TEST(ValueListTest, FindsTheSameNumberHoweverItIsWritten) {
  const ValueList list({"0", "1.0", "-9"});

  EXPECT_EQ(list.Find("0.0", '.'), 0u);
  EXPECT_EQ(list.Find("-0", '.'), 0u);
  EXPECT_EQ(list.Find("1", '.'), 1u);
  EXPECT_EQ(list.Find("1,00", ','), 1u);
  EXPECT_EQ(list.Find("-9.0", '.'), 2u);
  EXPECT_EQ(list.Find("2", '.'), std::nullopt);
}

TEST(ValueListTest, FindsTheFirstRepeatedValue) {
  EXPECT_EQ(ValueList({"a", "b", "1"}).FindRepeated(), std::nullopt);
  EXPECT_EQ(ValueList({"a", "b", "a"}).FindRepeated(), 2u);
  EXPECT_EQ(ValueList({"1", "1.0"}).FindRepeated(), 1u);
}

TEST(IsSafeToShowTest, RefusesControlCharactersAndBrokenUtf8) {
  EXPECT_TRUE(IsSafeToShow("Größe (cm)"));
  EXPECT_FALSE(IsSafeToShow("a\nb"));
  EXPECT_FALSE(IsSafeToShow("\x1B[31m"));
  EXPECT_FALSE(IsSafeToShow("\xC3("));
}

TEST(ValueListTest, GivesTheFirstOfTwoThatACellEquals) {
  const ValueList values({"a", "1.0", "1", "-0"});

  EXPECT_EQ(values.Find("1", '.'), 1u);
  EXPECT_EQ(values.Find("1.0", '.'), 1u);
  EXPECT_EQ(values.Find("0", '.'), 3u);
  EXPECT_EQ(values.Find("b", '.'), std::nullopt);
  EXPECT_EQ(values.FindRepeated(), 2u);
  EXPECT_EQ(ValueList({"1,5", "1.5"}).Find("1,5", ','), 0u);
}

}  // namespace
}  // namespace chorale::data
