#include "core/rpc/log_limiter.h"

#include <string>

#include "gtest/gtest.h"

namespace chorale::rpc {
namespace {

using std::chrono::seconds;

TEST(LogLimiterTest, PassesATextOnceAMinuteAndCountsTheRest) {
  LogLimiter limiter;

  EXPECT_EQ(limiter.Admit("a", seconds(1)), 0u);
  EXPECT_EQ(limiter.Admit("a", seconds(2)), std::nullopt);
  EXPECT_EQ(limiter.Admit("a", seconds(60)), std::nullopt);
  EXPECT_EQ(limiter.Admit("a", seconds(61)), 2u);
  EXPECT_EQ(limiter.Admit("a", seconds(62)), std::nullopt);
}

TEST(LogLimiterTest, PassesDifferentTexts) {
  LogLimiter limiter;

  EXPECT_TRUE(limiter.Admit("a", seconds(1)).has_value());
  EXPECT_TRUE(limiter.Admit("b", seconds(1)).has_value());
}

TEST(LogLimiterTest, LimitsTextsThatNeverRepeat) {
  LogLimiter limiter;
  int num_passed = 0;

  for (int i = 0; i < 10'000; ++i) {
    if (limiter.Admit(std::to_string(i), seconds(1))) ++num_passed;
  }

  EXPECT_EQ(num_passed, 60);
  EXPECT_TRUE(limiter.Admit("later", seconds(61)).has_value());
}

}  // namespace
}  // namespace chorale::rpc
