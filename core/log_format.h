#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/log.h"
#include "core/time.h"

// How a record becomes a line. A value cannot end its line, forge another record or drive a
// terminal: control characters, bidirectional overrides and bytes that are no UTF-8 are escaped.
namespace chorale::log {

struct Record {
  Time time;
  Level level = Level::kInfo;
  std::string_view event;
  std::span<const Field> fields;
};

// 2026-11-20T08:15:45.123Z INFO round.published job=j-1 round=3 reason="two words"
[[nodiscard]] std::string FormatText(const Record& record);

// {"ts":"2026-11-20T08:15:45.123Z","level":"info","event":"round.published","job":"j-1","round":3}
// A number that is not finite becomes a string, as JSON has none.
[[nodiscard]] std::string FormatJson(const Record& record);

}  // namespace chorale::log
