#include "core/time.h"

#include <array>
#include <cstdint>
#include <cstdio>

namespace chorale {
namespace {

using std::chrono::duration_cast;

Time ReadWallClock() { return std::chrono::floor<Duration>(std::chrono::system_clock::now()); }

// "3 h", or "3 h 20 min" when there is a rest.
std::string TwoUnits(std::uint64_t total, std::uint64_t per_unit, const char* unit,
                     const char* rest_unit) {
  std::string text = std::to_string(total / per_unit) + " " + unit;
  if (total % per_unit != 0) text += " " + std::to_string(total % per_unit) + " " + rest_unit;
  return text;
}

std::string FormatMagnitude(std::uint64_t us) {
  constexpr std::uint64_t kSecond = 1'000'000;
  constexpr std::uint64_t kMinute = 60 * kSecond;
  constexpr std::uint64_t kHour = 60 * kMinute;
  constexpr std::uint64_t kDay = 24 * kHour;
  const auto rounded_to = [us](std::uint64_t unit) { return (us + unit / 2) / unit; };

  // Each bound is where rounding would reach the next unit, so that 59.999 s reads "1 min" and not
  // "60 s".
  if (us < 1000) return std::to_string(us) + " us";
  if (us < kSecond - 500) return std::to_string(rounded_to(1000)) + " ms";
  if (us < kMinute - 5000) {
    const std::uint64_t hundredths = rounded_to(10'000);
    std::string text = std::to_string(hundredths / 100);
    if (hundredths % 100 != 0) {
      text += "." + std::to_string(hundredths % 100 / 10);
      if (hundredths % 10 != 0) text += std::to_string(hundredths % 10);
    }
    return text + " s";
  }
  if (us < kHour - kSecond / 2) return TwoUnits(rounded_to(kSecond), 60, "min", "s");
  if (us < kDay - kMinute / 2) return TwoUnits(rounded_to(kMinute), 60, "h", "min");
  return TwoUnits(rounded_to(kHour), 24, "d", "h");
}

}  // namespace

SystemClock::SystemClock()
    : start_(ReadWallClock()), steady_start_(std::chrono::steady_clock::now()) {}

Time SystemClock::Now() const {
  return start_ + std::chrono::floor<Duration>(std::chrono::steady_clock::now() - steady_start_);
}

Time SystemClock::WallNow() const { return ReadWallClock(); }

std::string FormatTime(Time time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const auto of_day = duration_cast<std::chrono::milliseconds>(time - day).count();
  std::array<char, 48> text{};
  const int size =
      std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                    static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                    static_cast<unsigned>(date.day()), static_cast<int>(of_day / 3'600'000),
                    static_cast<int>(of_day / 60'000 % 60), static_cast<int>(of_day / 1000 % 60),
                    static_cast<int>(of_day % 1000));
  return std::string(text.data(), static_cast<std::size_t>(size));
}

std::string FormatDuration(Duration duration) {
  const std::int64_t us = duration.count();
  if (us >= 0) return FormatMagnitude(static_cast<std::uint64_t>(us));
  return "-" + FormatMagnitude(0 - static_cast<std::uint64_t>(us));
}

}  // namespace chorale
