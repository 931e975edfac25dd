#include "core/log_format.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <type_traits>
#include <variant>

#include "core/utf8.h"

namespace chorale::log {
namespace {

void AppendUnicodeEscape(char32_t c, std::string& out) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out.push_back(kDigits[c >> shift & 0xf]);
}

// A JSON string literal; also what text lines use for values that need quotes.
void AppendQuoted(std::string_view text, std::string& out) {
  out.push_back('"');
  while (!text.empty()) {
    const CodePoint point = DecodeUtf8(text);
    if (!point.is_valid) {
      AppendUnicodeEscape(0xfffd, out);
    } else if (point.value == '"' || point.value == '\\') {
      out.push_back('\\');
      out.push_back(text.front());
    } else if (point.value == '\n') {
      out += "\\n";
    } else if (point.value == '\t') {
      out += "\\t";
    } else if (IsUnsafeToShow(point.value)) {
      AppendUnicodeEscape(point.value, out);
    } else {
      out += text.substr(0, point.size_bytes);
    }
    text.remove_prefix(point.size_bytes);
  }
  out.push_back('"');
}

bool IsPlainCharacter(char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '='; }

void AppendTextValue(std::string_view text, std::string& out) {
  if (!text.empty() && std::all_of(text.begin(), text.end(), IsPlainCharacter)) {
    out += text;
  } else {
    AppendQuoted(text, out);
  }
}

std::string ToText(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return std::string(text.data(), end);
}

std::string_view UpperCaseName(Level level) {
  switch (level) {
    case Level::kDebug:
      return "DEBUG";
    case Level::kInfo:
      return "INFO";
    case Level::kWarning:
      return "WARNING";
    case Level::kError:
      return "ERROR";
  }
  return "ERROR";
}

}  // namespace

std::string FormatText(const Record& record) {
  std::string line = FormatTime(record.time);
  line += " ";
  line += UpperCaseName(record.level);
  line += " ";
  AppendTextValue(record.event, line);
  for (const Field& field : record.fields) {
    line += " ";
    AppendTextValue(field.key, line);
    line += "=";
    std::visit(
        [&line](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<T, std::string>) {
            AppendTextValue(value, line);
          } else if constexpr (std::is_same_v<T, bool>) {
            line += value ? "true" : "false";
          } else if constexpr (std::is_same_v<T, double>) {
            line += ToText(value);
          } else {
            line += std::to_string(value);
          }
        },
        field.value);
  }
  return line;
}

std::string FormatJson(const Record& record) {
  std::string line = "{\"ts\":\"" + FormatTime(record.time) + "\",\"level\":\"";
  line += ToString(record.level);
  line += "\",\"event\":";
  AppendQuoted(record.event, line);
  for (const Field& field : record.fields) {
    line += ",";
    AppendQuoted(field.key, line);
    line += ":";
    std::visit(
        [&line](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<T, std::string>) {
            AppendQuoted(value, line);
          } else if constexpr (std::is_same_v<T, bool>) {
            line += value ? "true" : "false";
          } else if constexpr (std::is_same_v<T, double>) {
            if (std::isfinite(value)) {
              line += ToText(value);
            } else {
              AppendQuoted(ToText(value), line);
            }
          } else {
            line += std::to_string(value);
          }
        },
        field.value);
  }
  line += "}";
  return line;
}

}  // namespace chorale::log
