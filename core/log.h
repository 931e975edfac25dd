#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "core/status.h"

// Structured logging: an event name, then fields. Counts and ids only: never a secret, never a
// patient value. Safe for concurrent use. Before Configure, records go to standard error as text at
// level info. A record is one line whatever its values hold: see log_format.h.
namespace chorale::log {

enum class Level { kDebug, kInfo, kWarning, kError };
enum class Format { kText, kJson };

// The lower-case name: "debug", "info", "warning", "error".
[[nodiscard]] std::string_view ToString(Level level);

struct Options {
  Level level = Level::kInfo;
  Format format = Format::kText;
  std::string file;  // Empty: standard error.
};

struct Field {
  std::string_view key;
  std::variant<std::string, std::int64_t, double, bool> value;

  Field(std::string_view k, std::string_view v) : key(k), value(std::string(v)) {}
  Field(std::string_view k, const char* v) : key(k), value(std::string(v)) {}
  Field(std::string_view k, const std::string& v) : key(k), value(v) {}
  Field(std::string_view k, bool v) : key(k), value(v) {}
  Field(std::string_view k, double v) : key(k), value(v) {}
  template <std::integral T>
  Field(std::string_view k, T v) : key(k), value(static_cast<std::int64_t>(v)) {}
};

// INVALID_ARGUMENT names the bad value; empty strings mean the default. The environment's
// CHORALE_LOG wins over `level`.
[[nodiscard]] StatusOr<Options> ParseOptions(std::string_view level, std::string_view format,
                                             std::string_view file);
// UNAVAILABLE when the file cannot be opened; records then go on as before. A file is appended to
// and, if new, can be read by owner and group only.
[[nodiscard]] Status Configure(const Options& options);

void Write(Level level, std::string_view event, std::initializer_list<Field> fields);

inline void Debug(std::string_view event, std::initializer_list<Field> fields = {}) {
  Write(Level::kDebug, event, fields);
}
// One line for each change of state that an operator would want to know.
inline void Info(std::string_view event, std::initializer_list<Field> fields = {}) {
  Write(Level::kInfo, event, fields);
}
// Somebody should act, some day.
inline void Warning(std::string_view event, std::initializer_list<Field> fields = {}) {
  Write(Level::kWarning, event, fields);
}
// Somebody must act.
inline void Error(std::string_view event, std::initializer_list<Field> fields = {}) {
  Write(Level::kError, event, fields);
}

}  // namespace chorale::log
