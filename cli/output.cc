#include "cli/output.h"

#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/json_util.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "core/utf8.h"

namespace chorale::cli {

std::string Printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = DecodeUtf8(text);
    const bool is_line_end = c.is_valid && c.value == U'\n';
    if (c.is_valid && (is_line_end || !IsUnsafeToShow(c.value))) {
      result += text.substr(0, c.size_bytes);
    } else {
      result += '?';
    }
    text.remove_prefix(c.size_bytes);
  }
  return result;
}

void AddFormatOption(CLI::App& app, OutputFormat& format) {
  const std::map<std::string, OutputFormat> formats = {{"text", OutputFormat::kText},
                                                       {"json", OutputFormat::kJson}};
  app.add_option("--format", format, "text or json")
      ->transform(CLI::CheckedTransformer(formats).description(""))
      ->type_name("FORMAT");
}

StatusOr<std::string> ToJson(const google::protobuf::Message& message, JsonStyle style) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  options.add_whitespace = style == JsonStyle::kIndented;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) return Internal("cannot write " + message.GetTypeName() + " as JSON");
  return json;
}

Status PrintJson(std::ostream& out, const google::protobuf::Message& message) {
  CHORALE_ASSIGN_OR_RETURN(const std::string json, ToJson(message, JsonStyle::kIndented));
  out << json;
  if (json.empty() || json.back() != '\n') out << '\n';
  return OkStatus();
}

void Table::Print(std::ostream& out) const {
  std::vector<std::size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += Printable(row[i]);
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
}

Time TimeOf(const google::protobuf::Timestamp& time) {
  return Time(std::chrono::seconds(time.seconds()) +
              std::chrono::duration_cast<Duration>(std::chrono::nanoseconds(time.nanos())));
}

std::string TimeCell(bool is_set, const google::protobuf::Timestamp& time) {
  if (!is_set) return "-";
  std::string text = FormatTime(TimeOf(time)).substr(0, 19);
  std::replace(text.begin(), text.end(), 'T', ' ');
  return text;
}

std::string FormatBytes(std::uint64_t bytes) {
  if (bytes < 1000) return std::to_string(bytes) + " B";
  constexpr std::array<const char*, 5> kUnits = {"kB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.*f %s", value < 100 ? 1 : 0, value, kUnits[unit]);
  return text.data();
}

std::string FormatNumber(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g", value);
  return text.data();
}

}  // namespace chorale::cli
