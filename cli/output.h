#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"
#include "core/time.h"

namespace CLI {
class App;
}
namespace google::protobuf {
class Message;
class Timestamp;
}  // namespace google::protobuf

// How verbs print.
namespace chorale::cli {

// Text that came from elsewhere, safe for a terminal: what drives it (escape sequences among them),
// turns the direction of reading or is not UTF-8 becomes "?". Line ends stay.
[[nodiscard]] std::string Printable(std::string_view text);

enum class OutputFormat { kText, kJson };
// Adds --format text|json.
void AddFormatOption(CLI::App& app, OutputFormat& format);

// The proto JSON mapping with the field names of the .proto files, fields at their default
// included. One line, or indented.
enum class JsonStyle { kLine, kIndented };
[[nodiscard]] StatusOr<std::string> ToJson(const google::protobuf::Message& message,
                                           JsonStyle style);
// Prints the indented form and a line end.
[[nodiscard]] Status PrintJson(std::ostream& out, const google::protobuf::Message& message);

// Columns aligned by width, two spaces between them; the header in capitals as given.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  // REQUIRES: as many cells as the header has.
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  void Print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "2026-11-20 08:15:45" (UTC), or "-" when unset.
[[nodiscard]] std::string TimeCell(bool is_set, const google::protobuf::Timestamp& time);
[[nodiscard]] Time TimeOf(const google::protobuf::Timestamp& time);
// "1.2 MB": decimal units, as networks count.
[[nodiscard]] std::string FormatBytes(std::uint64_t bytes);
// Three significant decimals, as losses are read: "0.413".
[[nodiscard]] std::string FormatNumber(double value);

}  // namespace chorale::cli
