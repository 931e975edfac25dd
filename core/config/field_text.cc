#include "core/config/field_text.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>

namespace chorale::config {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr std::int64_t kMaxDurationSeconds =
    315'576'000'000;  // Of google.protobuf.Duration: 10000 years.
constexpr std::int64_t kMinTimestampSeconds = -62'135'596'800;  // 0001-01-01T00:00:00Z
constexpr std::int64_t kMaxTimestampSeconds = 253'402'300'799;  // 9999-12-31T23:59:59Z

struct Unit {
  std::string_view name;
  std::int64_t seconds;     // Zero for units below a second.
  std::int64_t per_second;  // Zero for units above a second.
};

constexpr std::array kUnits = {
    Unit{"d", 86400, 0},
    Unit{"h", 3600, 0},
    Unit{"min", 60, 0},
    Unit{"s", 1, 1},
    Unit{"ms", 0, 1000},
    Unit{"us", 0, 1'000'000},
    Unit{"ns", 0, kNanosPerSecond},
};

template <typename T>
std::optional<T> ParseWhole(std::string_view digits) {
  T value{};
  if (digits.empty() || digits.front() == '-') return std::nullopt;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

// Takes `count` digits off the front, then `separator` if it is not NUL.
std::optional<int> TakeDigits(std::string_view& text, std::size_t count, char separator) {
  if (text.size() < count) return std::nullopt;
  const std::optional<int> value = ParseWhole<int>(text.substr(0, count));
  text.remove_prefix(count);
  if (separator != '\0') {
    if (text.empty() || text.front() != separator) return std::nullopt;
    text.remove_prefix(1);
  }
  return value;
}

// ".123" off the front; zero if there is no fraction.
std::optional<std::int32_t> TakeNanos(std::string_view& text) {
  if (text.empty() || text.front() != '.') return 0;
  text.remove_prefix(1);
  std::int32_t nanos = 0;
  std::size_t count = 0;
  for (; count < text.size() && text[count] >= '0' && text[count] <= '9'; ++count) {
    if (count == 9) return std::nullopt;
    nanos = nanos * 10 + (text[count] - '0');
  }
  if (count == 0) return std::nullopt;
  for (std::size_t i = count; i < 9; ++i) nanos *= 10;
  text.remove_prefix(count);
  return nanos;
}

// Seconds that the local time is ahead of UTC.
std::optional<std::int64_t> ParseOffset(std::string_view text) {
  if (text == "Z" || text == "z") return 0;
  if (text.size() != 6 || (text.front() != '+' && text.front() != '-')) return std::nullopt;
  const std::int64_t sign = text.front() == '+' ? 1 : -1;
  text.remove_prefix(1);
  const auto hours = TakeDigits(text, 2, ':');
  const auto minutes = TakeDigits(text, 2, '\0');
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  return sign * (*hours * 3600 + *minutes * 60);
}

// "MISSING_ROWS_" for MissingRows.
std::string ValuePrefix(std::string_view type_name) {
  std::string prefix;
  for (const char c : type_name) {
    const bool is_upper = c >= 'A' && c <= 'Z';
    if (is_upper && !prefix.empty()) prefix.push_back('_');
    prefix.push_back(c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
  }
  return prefix + "_";
}

bool IsUnspecified(const google::protobuf::EnumValueDescriptor& value) {
  return value.number() == 0 && std::string_view(value.name()).ends_with("UNSPECIFIED");
}

}  // namespace

std::optional<SecondsAndNanos> ParseDurationText(std::string_view text) {
  const std::size_t num_digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto count = ParseWhole<std::int64_t>(text.substr(0, num_digits));
  if (!count) return std::nullopt;
  for (const Unit& unit : kUnits) {
    if (text.substr(num_digits) != unit.name) continue;
    if (unit.seconds > 0) {
      if (*count > kMaxDurationSeconds / unit.seconds) return std::nullopt;
      return SecondsAndNanos{*count * unit.seconds, 0};
    }
    const std::int64_t seconds = *count / unit.per_second;
    if (seconds > kMaxDurationSeconds) return std::nullopt;
    return SecondsAndNanos{seconds, static_cast<std::int32_t>(*count % unit.per_second *
                                                              (kNanosPerSecond / unit.per_second))};
  }
  return std::nullopt;
}

std::string FormatDurationText(SecondsAndNanos duration) {
  const bool is_negative = duration.seconds < 0 || (duration.seconds == 0 && duration.nanos < 0);
  const auto magnitude = [](std::int64_t v) {
    return v < 0 ? 0 - static_cast<std::uint64_t>(v) : static_cast<std::uint64_t>(v);
  };
  const std::uint64_t seconds = magnitude(duration.seconds);
  const std::uint64_t nanos = magnitude(duration.nanos);
  const std::string sign = is_negative ? "-" : "";
  if (seconds == 0 && nanos == 0) return "0s";
  for (const Unit& unit : kUnits) {
    if (unit.seconds > 0) {
      const auto unit_seconds = static_cast<std::uint64_t>(unit.seconds);
      if (nanos != 0 || seconds % unit_seconds != 0) continue;
      return sign + std::to_string(seconds / unit_seconds) + std::string(unit.name);
    }
    const auto per_second = static_cast<std::uint64_t>(unit.per_second);
    const std::uint64_t unit_nanos = kNanosPerSecond / per_second;
    if (nanos % unit_nanos != 0) continue;
    // Digits side by side, as the product of seconds and 10^9 need not fit.
    std::string digits = std::to_string(nanos / unit_nanos);
    if (seconds > 0) {
      const std::size_t width = std::to_string(per_second).size() - 1;
      if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
      digits.insert(0, std::to_string(seconds));
    }
    return sign + digits + std::string(unit.name);
  }
  return sign + std::to_string(seconds) + "s";
}

std::optional<SecondsAndNanos> ParseTimestampText(std::string_view text) {
  const auto year = TakeDigits(text, 4, '-');
  const auto month = TakeDigits(text, 2, '-');
  const auto day = TakeDigits(text, 2, '\0');
  if (!year || !month || !day || text.empty() || (text.front() != 'T' && text.front() != 't')) {
    return std::nullopt;
  }
  text.remove_prefix(1);
  const auto hour = TakeDigits(text, 2, ':');
  const auto minute = TakeDigits(text, 2, ':');
  const auto second = TakeDigits(text, 2, '\0');
  const auto nanos = TakeNanos(text);
  const auto offset = ParseOffset(text);
  if (!hour || !minute || !second || !nanos || !offset) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t seconds = days * 86400 + *hour * 3600 + *minute * 60 + *second - *offset;
  if (seconds < kMinTimestampSeconds || seconds > kMaxTimestampSeconds) return std::nullopt;
  return SecondsAndNanos{seconds, *nanos};
}

std::string FormatTimestampText(SecondsAndNanos timestamp) {
  const bool is_valid = timestamp.seconds >= kMinTimestampSeconds &&
                        timestamp.seconds <= kMaxTimestampSeconds && timestamp.nanos >= 0 &&
                        timestamp.nanos < kNanosPerSecond;
  if (!is_valid) return "invalid";
  const std::chrono::sys_seconds time{std::chrono::seconds(timestamp.seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const auto of_day = static_cast<int>((time - day).count());
  std::array<char, 64> text{};
  int size = std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d",
                           static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                           static_cast<unsigned>(date.day()), of_day / 3600, of_day / 60 % 60,
                           of_day % 60);
  std::string result(text.data(), static_cast<std::size_t>(size));
  if (timestamp.nanos != 0) {
    size = std::snprintf(text.data(), text.size(), ".%09d", timestamp.nanos);
    std::string_view fraction(text.data(), static_cast<std::size_t>(size));
    while (fraction.ends_with("000")) fraction.remove_suffix(3);
    result += fraction;
  }
  return result + "Z";
}

std::string EnumShortName(const google::protobuf::EnumValueDescriptor& value) {
  const std::string prefix = ValuePrefix(value.type()->name());
  std::string name(value.name());
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

const google::protobuf::EnumValueDescriptor* FindEnumValue(
    const google::protobuf::EnumDescriptor& type, std::string_view short_name) {
  for (int i = 0; i < type.value_count(); ++i) {
    const auto& value = *type.value(i);
    if (!IsUnspecified(value) && EnumShortName(value) == short_name) return &value;
  }
  return nullptr;
}

std::string EnumChoices(const google::protobuf::EnumDescriptor& type) {
  std::string choices;
  for (int i = 0; i < type.value_count(); ++i) {
    if (IsUnspecified(*type.value(i))) continue;
    if (!choices.empty()) choices += ", ";
    choices += EnumShortName(*type.value(i));
  }
  return choices;
}

}  // namespace chorale::config
