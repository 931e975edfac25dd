#include "core/bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>
#include <utility>

#include "core/random.h"

namespace chorale {
namespace {

using ::testing::HasSubstr;

TEST(HexTest, WritesLowerCaseDigits) {
  const Bytes bytes = {0x00, 0x1f, 0xab, 0xff};

  EXPECT_EQ(ToHex(bytes), "001fabff");
}

TEST(HexTest, ReadsBothCases) {
  const StatusOr<Bytes> bytes = FromHex("aBCdEf09");

  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, (Bytes{0xab, 0xcd, 0xef, 0x09}));
}

TEST(HexTest, RefusesAnOddNumberOfDigits) {
  EXPECT_EQ(FromHex("abc").status().code(), StatusCode::kInvalidArgument);
}

TEST(HexTest, RefusesAnythingButDigits) {
  for (const std::string_view text : {"0g", "g0", " 1", "0x", "\xff\xff", "+1"}) {
    EXPECT_EQ(FromHex(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(Base64UrlTest, AgreesWithTheVectorsOfRfc4648) {
  const std::pair<std::string_view, std::string_view> vectors[] = {
      {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},         {"foo", "Zm9v"},
      {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(ToBase64Url(AsBytes(plain)), encoded);
    const StatusOr<Bytes> decoded = FromBase64Url(encoded);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(AsText(*decoded), plain);
  }
}

TEST(Base64UrlTest, UsesTheAlphabetThatIsSafeInUrls) {
  EXPECT_EQ(ToBase64Url(Bytes{0xfb, 0xff}), "-_8");
}

TEST(Base64UrlTest, RefusesPaddingAndTheOtherAlphabet) {
  for (const std::string_view text : {"Zg==", "+/8A", "Z g", "Zg\n"}) {
    EXPECT_EQ(FromBase64Url(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(Base64UrlTest, RefusesALengthThatNoBytesHave) {
  EXPECT_THAT(std::string(FromBase64Url("Zm9vY").status().message()), HasSubstr("5 characters"));
}

TEST(Base64UrlTest, RefusesASecondSpellingOfTheSameBytes) {
  EXPECT_TRUE(FromBase64Url("Zg").ok());
  EXPECT_EQ(FromBase64Url("Zh").status().code(), StatusCode::kInvalidArgument);
}

TEST(BytesTest, EveryLengthSurvivesBothEncodings) {
  SeededRandom random(1);
  for (std::size_t size = 0; size < 100; ++size) {
    Bytes bytes(size);
    random.Fill(bytes);

    EXPECT_EQ(*FromHex(ToHex(bytes)), bytes);
    EXPECT_EQ(*FromBase64Url(ToBase64Url(bytes)), bytes);
  }
}

TEST(BytesTest, NoTextMakesADecoderFailBadly) {
  SeededRandom random(2);
  for (int i = 0; i < 2000; ++i) {
    Bytes text(random.NextBelow(12));
    random.Fill(text);

    const StatusOr<Bytes> hex = FromHex(AsText(text));
    const StatusOr<Bytes> base64 = FromBase64Url(AsText(text));

    EXPECT_TRUE(!base64.ok() || ToBase64Url(*base64) == AsText(text));
    EXPECT_TRUE(!hex.ok() || hex->size() * 2 == text.size());
  }
}

}  // namespace
}  // namespace chorale
