#include "core/utf8.h"

#include <gtest/gtest.h>

namespace chorale {
namespace {

TEST(Utf8Test, DecodesEachLength) {
  EXPECT_EQ(DecodeUtf8("a").value, U'a');
  EXPECT_EQ(DecodeUtf8("\xc3\xa9").value, U'\u00e9');
  EXPECT_EQ(DecodeUtf8("\xe2\x82\xac").value, U'\u20ac');
  EXPECT_EQ(DecodeUtf8("\xf0\x9f\x98\x80").value, U'\U0001f600');
  EXPECT_EQ(DecodeUtf8("\xf0\x9f\x98\x80").size_bytes, 4u);
}

TEST(Utf8Test, RefusesWhatIsNotWellFormed) {
  const std::string_view texts[] = {
      "\x80",              // Continuation without a lead.
      "\xc3",              // Cut short.
      "\xe2\x82",          // Cut short.
      "\xc3(",             // Lead without a continuation.
      "\xc0\x80",          // Overlong NUL.
      "\xe0\x80\x80",      // Overlong.
      "\xf0\x80\x80\x80",  // Overlong.
      "\xed\xa0\x80",      // Surrogate.
      "\xf4\x90\x80\x80",  // Above U+10FFFF.
      "\xff",
  };
  for (const std::string_view text : texts) {
    EXPECT_FALSE(DecodeUtf8(text).is_valid);
    EXPECT_EQ(DecodeUtf8(text).size_bytes, 1u);
    EXPECT_FALSE(IsValidUtf8(text));
  }
}

TEST(Utf8Test, AWholeTextIsValidWhenEveryPartIs) {
  EXPECT_TRUE(IsValidUtf8(""));
  EXPECT_TRUE(IsValidUtf8("h\xc3\xb4pital"));
  EXPECT_FALSE(IsValidUtf8("h\xf4pital"));
}

TEST(Utf8Test, KnowsWhatATerminalWouldObey) {
  for (const char32_t c :
       {U'\0', U'\n', U'\x1b', U'\x7f', U'\u009b', U'\u2028', U'\u202e', U'\u2066', U'\ufeff'}) {
    EXPECT_TRUE(IsUnsafeToShow(c)) << static_cast<unsigned>(c);
  }
  for (const char32_t c : {U' ', U'a', U'~', U'\u00a0', U'\u00e9', U'\u20ac', U'\U0001f600'}) {
    EXPECT_FALSE(IsUnsafeToShow(c)) << static_cast<unsigned>(c);
  }
}

}  // namespace
}  // namespace chorale
