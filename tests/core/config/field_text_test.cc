#include "core/config/field_text.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <limits>
#include <utility>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/model.pb.h"
#include "core/random.h"

namespace chorale::config {
namespace {

using Value = SecondsAndNanos;

TEST(DurationTextTest, ReadsEveryUnit) {
  EXPECT_EQ(ParseDurationText("90s"), (Value{90, 0}));
  EXPECT_EQ(ParseDurationText("5min"), (Value{300, 0}));
  EXPECT_EQ(ParseDurationText("250ms"), (Value{0, 250'000'000}));
  EXPECT_EQ(ParseDurationText("2h"), (Value{7200, 0}));
  EXPECT_EQ(ParseDurationText("7d"), (Value{604'800, 0}));
  EXPECT_EQ(ParseDurationText("1500us"), (Value{0, 1'500'000}));
  EXPECT_EQ(ParseDurationText("2000000001ns"), (Value{2, 1}));
  EXPECT_EQ(ParseDurationText("0s"), (Value{0, 0}));
}

TEST(DurationTextTest, RefusesEverythingElse) {
  for (const std::string_view text :
       {"", "90", "s", "-1s", "+1s", "1.5s", "1 s", "1S", "1m", "1h30min", "1sec", " 1s", "0x1s"}) {
    EXPECT_EQ(ParseDurationText(text), std::nullopt) << text;
  }
}

TEST(DurationTextTest, RefusesOver10000Years) {
  EXPECT_EQ(ParseDurationText("315576000000s"), (Value{315'576'000'000, 0}));
  EXPECT_EQ(ParseDurationText("315576000001s"), std::nullopt);
  EXPECT_EQ(ParseDurationText("9223372036854775807d"), std::nullopt);
  EXPECT_EQ(ParseDurationText("9223372036854775808s"), std::nullopt);
}

TEST(DurationTextTest, WritesTheLargestExactUnit) {
  EXPECT_EQ(FormatDurationText({0, 0}), "0s");
  EXPECT_EQ(FormatDurationText({90, 0}), "90s");
  EXPECT_EQ(FormatDurationText({300, 0}), "5min");
  EXPECT_EQ(FormatDurationText({86'400, 0}), "1d");
  EXPECT_EQ(FormatDurationText({1, 500'000'000}), "1500ms");
  EXPECT_EQ(FormatDurationText({1, 1'000}), "1000001us");
  EXPECT_EQ(FormatDurationText({0, 7}), "7ns");
  EXPECT_EQ(FormatDurationText({-1, -500'000'000}), "-1500ms");
}

TEST(DurationTextTest, WritesValuesThatNoDurationHas) {
  EXPECT_EQ(FormatDurationText({std::numeric_limits<std::int64_t>::min(), 0}).front(), '-');
  EXPECT_FALSE(FormatDurationText({std::numeric_limits<std::int64_t>::max(), -1}).empty());
}

TEST(DurationTextTest, WhatIsWrittenIsReadBack) {
  SeededRandom random(7);
  for (int i = 0; i < 1000; ++i) {
    const Value value{static_cast<std::int64_t>(random.NextBelow(1'000'000)),
                      static_cast<std::int32_t>(random.NextBelow(1000) *
                                                (random.NextBelow(2) == 0 ? 1 : 1'000'000))};

    EXPECT_EQ(ParseDurationText(FormatDurationText(value)), value);
  }
}

TEST(TimestampTextTest, ReadsUtcAndOffsets) {
  EXPECT_EQ(ParseTimestampText("1970-01-01T00:00:00Z"), (Value{0, 0}));
  EXPECT_EQ(ParseTimestampText("2026-11-20T08:15:45Z"), (Value{1'795'162'545, 0}));
  EXPECT_EQ(ParseTimestampText("2026-11-20T09:15:45+01:00"), (Value{1'795'162'545, 0}));
  EXPECT_EQ(ParseTimestampText("2026-11-20t02:45:45-05:30"), (Value{1'795'162'545, 0}));
  EXPECT_EQ(ParseTimestampText("2000-02-29T00:00:00.5z"), (Value{951'782'400, 500'000'000}));
  EXPECT_EQ(ParseTimestampText("0001-01-01T00:00:00Z"), (Value{-62'135'596'800, 0}));
  EXPECT_EQ(ParseTimestampText("9999-12-31T23:59:59.999999999Z"),
            (Value{253'402'300'799, 999'999'999}));
}

TEST(TimestampTextTest, RefusesEverythingElse) {
  for (const std::string_view text : {"",
                                      "2026-11-20",
                                      "2026-11-20T08:15:45",
                                      "2026-11-20 08:15:45Z",
                                      "2026-11-20T08:15Z",
                                      "2026-13-20T08:15:45Z",
                                      "2026-02-29T00:00:00Z",
                                      "2026-11-20T24:00:00Z",
                                      "2026-11-20T08:60:00Z",
                                      "2026-11-20T08:15:60Z",
                                      "2026-11-20T08:15:45.Z",
                                      "2026-11-20T08:15:45.1234567890Z",
                                      "2026-11-20T08:15:45+1:00",
                                      "2026-11-20T08:15:45+24:00",
                                      "2026-11-20T08:15:45ZZ",
                                      "26-11-20T08:15:45Z",
                                      "-026-11-20T08:15:45Z",
                                      "0001-01-01T00:00:00+00:01",
                                      "9999-12-31T23:59:59-00:01",
                                      "0000-01-01T00:00:00Z"}) {
    EXPECT_EQ(ParseTimestampText(text), std::nullopt) << text;
  }
}

TEST(TimestampTextTest, WritesUtcWithAsManyDigitsAsNeeded) {
  EXPECT_EQ(FormatTimestampText({1'795'162'545, 0}), "2026-11-20T08:15:45Z");
  EXPECT_EQ(FormatTimestampText({1'795'162'545, 120'000'000}), "2026-11-20T08:15:45.120Z");
  EXPECT_EQ(FormatTimestampText({-1, 1'000}), "1969-12-31T23:59:59.000001Z");
  EXPECT_EQ(FormatTimestampText({0, 1}), "1970-01-01T00:00:00.000000001Z");
}

TEST(TimestampTextTest, SaysThatAValueIsNoTimestamp) {
  EXPECT_EQ(FormatTimestampText({std::numeric_limits<std::int64_t>::max(), 0}), "invalid");
  EXPECT_EQ(FormatTimestampText({0, -1}), "invalid");
}

TEST(TimestampTextTest, WhatIsWrittenIsReadBack) {
  SeededRandom random(8);
  for (int i = 0; i < 1000; ++i) {
    const Value value{static_cast<std::int64_t>(random.NextBelow(315'537'897'600)) - 62'135'596'800,
                      static_cast<std::int32_t>(random.NextBelow(1'000'000'000))};

    EXPECT_EQ(ParseTimestampText(FormatTimestampText(value)), value);
  }
}

TEST(EnumTextTest, DropsThePrefixOfItsType) {
  EXPECT_EQ(EnumShortName(*v1::Activation_descriptor()->FindValueByNumber(v1::ACTIVATION_RELU)),
            "relu");
  EXPECT_EQ(EnumShortName(*v1::MissingRows_descriptor()->FindValueByNumber(v1::MISSING_ROWS_DROP)),
            "drop");
}

TEST(EnumTextTest, FindsAValueByItsShortName) {
  const auto* value = FindEnumValue(*v1::Standardization_descriptor(), "per_site");

  ASSERT_NE(value, nullptr);
  EXPECT_EQ(value->number(), v1::STANDARDIZATION_PER_SITE);
}

TEST(EnumTextTest, NobodyMayWriteUnspecified) {
  for (const std::string_view text : {"unspecified", "ACTIVATION_RELU", "Relu", "", "1"}) {
    EXPECT_EQ(FindEnumValue(*v1::Activation_descriptor(), text), nullptr) << text;
  }
  EXPECT_EQ(EnumChoices(*v1::Activation_descriptor()), "relu, tanh, gelu, silu, sigmoid, softmax");
}

}  // namespace
}  // namespace chorale::config
