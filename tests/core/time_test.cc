#include "core/time.h"

#include <gtest/gtest.h>

#include <limits>

namespace chorale {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST(SystemClockTest, NeverGoesBack) {
  const SystemClock clock;
  Time last = clock.Now();
  for (int i = 0; i < 1000; ++i) {
    const Time now = clock.Now();
    EXPECT_GE(now, last);
    last = now;
  }
}

TEST(SystemClockTest, StartsAtTheWallTime) {
  const SystemClock clock;
  const Time before = clock.WallNow();

  EXPECT_LT(std::chrono::abs(clock.Now() - before), minutes(1));
}

TEST(FormatTimeTest, WritesUtcWithMilliseconds) {
  EXPECT_EQ(FormatTime(Time(microseconds(0))), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(FormatTime(Time(microseconds(1'795'162'545'123'999))), "2026-11-20T08:15:45.123Z");
  EXPECT_EQ(FormatTime(Time(microseconds(951'782'400'000'000))), "2000-02-29T00:00:00.000Z");
}

TEST(FormatTimeTest, WritesTimesBeforeTheEpoch) {
  EXPECT_EQ(FormatTime(Time(microseconds(-1))), "1969-12-31T23:59:59.999Z");
}

TEST(FormatDurationTest, UsesTwoUnitsAtMost) {
  EXPECT_EQ(FormatDuration(Duration(0)), "0 us");
  EXPECT_EQ(FormatDuration(microseconds(999)), "999 us");
  EXPECT_EQ(FormatDuration(milliseconds(15)), "15 ms");
  EXPECT_EQ(FormatDuration(milliseconds(1250)), "1.25 s");
  EXPECT_EQ(FormatDuration(milliseconds(1500)), "1.5 s");
  EXPECT_EQ(FormatDuration(milliseconds(1050)), "1.05 s");
  EXPECT_EQ(FormatDuration(seconds(40)), "40 s");
  EXPECT_EQ(FormatDuration(seconds(90)), "1 min 30 s");
  EXPECT_EQ(FormatDuration(minutes(62)), "1 h 2 min");
  EXPECT_EQ(FormatDuration(hours(3)), "3 h");
  EXPECT_EQ(FormatDuration(days(2) + hours(5)), "2 d 5 h");
}

TEST(FormatDurationTest, RoundsIntoTheNextUnit) {
  EXPECT_EQ(FormatDuration(microseconds(999'500)), "1 s");
  EXPECT_EQ(FormatDuration(milliseconds(59'996)), "1 min");
  EXPECT_EQ(FormatDuration(minutes(59) + milliseconds(59'600)), "1 h");
  EXPECT_EQ(FormatDuration(hours(23) + minutes(59) + seconds(40)), "1 d");
}

TEST(FormatDurationTest, SaysThatADurationIsNegative) {
  EXPECT_EQ(FormatDuration(-seconds(40)), "-40 s");
  EXPECT_EQ(FormatDuration(Duration::min()).front(), '-');
  EXPECT_EQ(FormatDuration(Duration::max()), "106751991 d 4 h");
}

}  // namespace
}  // namespace chorale
