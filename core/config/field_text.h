#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace google::protobuf {
class EnumDescriptor;
class EnumValueDescriptor;
}  // namespace google::protobuf

// How single values are written in files that people write.
namespace chorale::config {

// As in google.protobuf.Duration and Timestamp.
struct SecondsAndNanos {
  std::int64_t seconds = 0;
  std::int32_t nanos = 0;
  friend bool operator==(const SecondsAndNanos&, const SecondsAndNanos&) = default;
};

// A whole number and a unit of ns, us, ms, s, min, h, d ("90s", "5min"), at most 10000 years.
[[nodiscard]] std::optional<SecondsAndNanos> ParseDurationText(std::string_view text);
// The largest unit that is exact; a minus sign in front of a negative one.
[[nodiscard]] std::string FormatDurationText(SecondsAndNanos duration);

// RFC 3339 with "Z" or an offset: "2026-11-20T08:15:45Z". Years 1 to 9999, no leap seconds.
[[nodiscard]] std::optional<SecondsAndNanos> ParseTimestampText(std::string_view text);
// In UTC, with as many groups of three fraction digits as are needed.
[[nodiscard]] std::string FormatTimestampText(SecondsAndNanos timestamp);

// "relu" for ACTIVATION_RELU of enum Activation.
[[nodiscard]] std::string EnumShortName(const google::protobuf::EnumValueDescriptor& value);
// The value of that short name; null for none, and for the UNSPECIFIED one, which nobody may write.
[[nodiscard]] const google::protobuf::EnumValueDescriptor* FindEnumValue(
    const google::protobuf::EnumDescriptor& type, std::string_view short_name);
// "relu, tanh, gelu".
[[nodiscard]] std::string EnumChoices(const google::protobuf::EnumDescriptor& type);

}  // namespace chorale::config
