#include "data/csv_reader.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <optional>
#include <unordered_set>
#include <utility>

#include "core/config/yaml.h"
#include "core/storage/file.h"
#include "data/encoding.h"

namespace chorale::data {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{4} << 30;
constexpr std::size_t kMaxColumns = 65536;
constexpr std::size_t kMaxCellBytes = std::size_t{1} << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kNoBreakSpace = "\xC2\xA0";

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// UTF-8 text without white space around it.
std::string_view Trimmed(std::string_view text) {
  for (;;) {
    if (!text.empty() && IsSpace(text.front())) {
      text.remove_prefix(1);
    } else if (text.starts_with(kNoBreakSpace)) {
      text.remove_prefix(kNoBreakSpace.size());
    } else if (!text.empty() && IsSpace(text.back())) {
      text.remove_suffix(1);
    } else if (text.ends_with(kNoBreakSpace)) {
      text.remove_suffix(kNoBreakSpace.size());
    } else {
      return text;
    }
  }
}

// Ends of line (LF, CRLF or CR) in `text`.
std::uint64_t CountLineEnds(std::string_view text) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' || (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n'))) {
      ++count;
    }
  }
  return count;
}

// One pass over the text, one row a call.
class RowScanner {
 public:
  RowScanner(std::string_view text, char delimiter, std::string_view file_name)
      : text_(text), delimiter_(delimiter), file_name_(file_name) {
    ends_cell_['\n'] = ends_cell_['\r'] = true;
    ends_cell_[static_cast<unsigned char>(delimiter)] = true;
  }

  // Moves to the next line that is not blank. False at the end of the text.
  bool SkipBlankLines() {
    for (;;) {
      std::size_t end = position_;
      while (end < text_.size() && IsBlank(text_[end])) ++end;
      if (end == text_.size()) return false;
      if (text_[end] != '\n' && text_[end] != '\r') return true;
      position_ = end;
      TakeLineEnd();
    }
  }

  // Replaces `cells` by those of the row that begins here.
  Status ReadRow(std::vector<std::string>& cells) {
    cells.clear();
    for (;;) {
      if (cells.size() == kMaxColumns) {
        return Error(StatusCode::kResourceExhausted, line_, "the row has over 65536 cells");
      }
      cells.emplace_back();
      CHORALE_RETURN_IF_ERROR(ReadCell(cells.back()));
      if (position_ == text_.size()) return OkStatus();
      if (text_[position_] != delimiter_) {
        TakeLineEnd();
        return OkStatus();
      }
      ++position_;
    }
  }

  [[nodiscard]] std::uint64_t line() const { return line_; }

  [[nodiscard]] Status Error(StatusCode code, std::uint64_t line, std::string_view problem) const {
    return MakeStatus(code, file_name_ + ":" + std::to_string(line) + ": " + std::string(problem));
  }

 private:
  [[nodiscard]] bool IsBlank(char c) const {
    return IsSpace(c) && c != delimiter_ && c != '\n' && c != '\r';
  }

  void TakeLineEnd() {
    if (text_[position_] == '\r' && position_ + 1 < text_.size() && text_[position_ + 1] == '\n') {
      ++position_;
    }
    ++position_;
    ++line_;
  }

  // Reads up to the delimiter, line end or end of text that follows the cell.
  Status ReadCell(std::string& cell) {
    const std::size_t begin = position_;
    while (position_ < text_.size() && IsBlank(text_[position_])) ++position_;
    if (position_ < text_.size() && text_[position_] == '"') return ReadQuoted(cell);
    while (position_ < text_.size() && !ends_cell_[static_cast<unsigned char>(text_[position_])]) {
      ++position_;
    }
    if (position_ - begin > kMaxCellBytes) {
      return Error(StatusCode::kResourceExhausted, line_, "a cell is over 1 MiB");
    }
    cell = Trimmed(text_.substr(begin, position_ - begin));
    return OkStatus();
  }

  Status ReadQuoted(std::string& cell) {
    const std::uint64_t opened_at = line_;
    const std::size_t begin = position_ + 1;
    std::size_t from = begin;
    for (;;) {
      const std::size_t quote = text_.find('"', from);
      if (quote == std::string_view::npos && text_.size() - begin <= kMaxCellBytes) {
        return Error(StatusCode::kInvalidArgument, opened_at,
                     "a quote opens here and never closes");
      }
      if (quote == std::string_view::npos || quote - begin > kMaxCellBytes) {
        return Error(StatusCode::kResourceExhausted, opened_at,
                     "a quoted cell that begins here is over 1 MiB: is its closing quote missing?");
      }
      cell.append(text_.substr(from, quote - from));
      from = quote + 1;
      if (from == text_.size() || text_[from] != '"') break;
      cell.push_back('"');
      ++from;
    }
    line_ += CountLineEnds(text_.substr(begin, from - begin));
    for (position_ = from; position_ < text_.size() && IsBlank(text_[position_]);) ++position_;
    if (position_ < text_.size() && !ends_cell_[static_cast<unsigned char>(text_[position_])]) {
      return Error(StatusCode::kInvalidArgument, line_,
                   "a closing quote is followed by more text; inside quotes write \"\" for \"");
    }
    cell = std::string(Trimmed(cell));
    return OkStatus();
  }

  std::string_view text_;
  char delimiter_;
  std::string file_name_;
  std::array<bool, 256> ends_cell_{};
  std::size_t position_ = 0;
  std::uint64_t line_ = 1;
};

// Names from the configuration or the header row, without unnamed columns at the end.
StatusOr<std::vector<std::string>> ReadColumns(const v1::CsvConnector& options, RowScanner& scanner,
                                               std::size_t& header_width) {
  std::vector<std::string> names(options.columns().begin(), options.columns().end());
  const bool from_file = names.empty();
  std::uint64_t line = 1;
  if (from_file) {
    const bool has_header = scanner.SkipBlankLines();
    line = scanner.line();
    if (!has_header) {
      return scanner.Error(StatusCode::kInvalidArgument, line, "the file is empty: no header row");
    }
    CHORALE_RETURN_IF_ERROR(scanner.ReadRow(names));
  }
  header_width = names.size();
  while (from_file && !names.empty() && names.back().empty()) names.pop_back();
  if (names.empty()) {
    return scanner.Error(StatusCode::kInvalidArgument, line, "the header row names no column");
  }
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty() || seen.insert(names[i]).second) continue;
    const auto first = std::find(names.begin(), names.end(), names[i]) - names.begin();
    return scanner.Error(StatusCode::kInvalidArgument, line,
                         "columns " + std::to_string(first + 1) + " and " + std::to_string(i + 1) +
                             " have the same name; for a file without a header row list the names "
                             "in csv.columns");
  }
  return names;
}

std::string CountMessage(std::size_t got, std::size_t wanted) {
  return "the row has " + std::to_string(got) + (got == 1 ? " cell" : " cells") + ", expected " +
         std::to_string(wanted);
}

// Reads every row; all must have the width of the first, and nothing beyond the named columns.
Status ReadRows(RowScanner& scanner, std::size_t header_width, CsvTable& table) {
  const std::size_t num_columns = table.columns.size();
  std::optional<std::size_t> width;
  std::vector<std::string> cells;
  while (scanner.SkipBlankLines()) {
    const std::uint64_t line = scanner.line();
    cells.reserve(std::max(header_width, num_columns + 1));
    CHORALE_RETURN_IF_ERROR(scanner.ReadRow(cells));
    if (!width && cells.size() >= num_columns &&
        cells.size() <= std::max(header_width, num_columns + 1)) {
      width = cells.size();
    }
    if (cells.size() != width.value_or(num_columns)) {
      return scanner.Error(StatusCode::kInvalidArgument, line,
                           CountMessage(cells.size(), width.value_or(num_columns)));
    }
    for (std::size_t i = num_columns; i < cells.size(); ++i) {
      if (cells[i].empty()) continue;
      return scanner.Error(StatusCode::kInvalidArgument, line,
                           "there is a value in column " + std::to_string(i + 1) +
                               ", which has no name: " + CountMessage(cells.size(), num_columns));
    }
    cells.resize(num_columns);
    table.rows.push_back(std::move(cells));
    table.lines.push_back(line);
    cells = {};
  }
  return OkStatus();
}

// OK when every byte is of the encoding.
Status CheckBytes(std::string_view text, bool is_latin1, std::string_view file_name) {
  const auto error = [&](std::size_t offset, std::string_view problem) {
    const std::uint64_t line = 1 + CountLineEnds(text.substr(0, offset));
    return InvalidArgument(std::string(file_name) + ":" + std::to_string(line) + ": " +
                           std::string(problem));
  };
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    return error(0, "the file is UTF-16; save it as UTF-8");
  }
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    return error(nul, "there is a NUL byte: this is not a text file");
  }
  if (is_latin1) {
    if (text.starts_with(kByteOrderMark)) {
      return error(0, "the file begins with the mark of UTF-8; set csv.encoding: utf-8");
    }
    const std::optional<std::size_t> bad = FindInvalidWindows1252(text);
    return bad ? error(*bad, "a byte is not Latin-1; set csv.encoding") : OkStatus();
  }
  const std::optional<std::size_t> bad = FindInvalidUtf8(text);
  return bad ? error(*bad, "a byte is not UTF-8; for Latin-1 set csv.encoding: latin-1")
             : OkStatus();
}

}  // namespace

Status Validate(const v1::CsvConnector& options, std::string_view field) {
  const std::string prefix = std::string(field) + ".";
  const std::string& delimiter = options.delimiter();
  if (!delimiter.empty()) {
    const char c = delimiter[0];
    const bool is_usable = c == '\t' || (c >= ' ' && c <= '~');
    const bool may_be_data = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '"' ||
                             c == '+' || c == '-' || c == '.' || c == '_';
    if (delimiter.size() != 1 || !is_usable || may_be_data) {
      return config::FieldError(prefix + "delimiter",
                                "must be one character such as \",\", \";\", \"|\" or \"\\t\" "
                                "(in double quotes), not a letter, a digit or one of \" + - . _");
    }
  }
  if (!options.decimal().empty() && options.decimal() != "." && options.decimal() != ",") {
    return config::FieldError(prefix + "decimal", "must be \".\" or \",\"");
  }
  if (options.decimal() == "," && (delimiter.empty() || delimiter == ",")) {
    return config::FieldError(prefix + "delimiter",
                              "must differ from decimal, which is \",\"; set for example \";\"");
  }
  if (!options.encoding().empty() && options.encoding() != "utf-8" &&
      options.encoding() != "latin-1") {
    return config::FieldError(prefix + "encoding", "must be utf-8 or latin-1");
  }
  if (static_cast<std::size_t>(options.columns_size()) > kMaxColumns) {
    return config::FieldError(prefix + "columns", "must have at most 65536 names");
  }
  if (!v1::MissingRows_IsValid(options.on_missing())) {
    return config::FieldError(prefix + "on_missing", "must be refuse or drop");
  }
  return OkStatus();
}

StatusOr<CsvTable> ParseCsv(std::string_view text, const v1::CsvConnector& options,
                            std::string_view file_name) {
  CHORALE_RETURN_IF_ERROR(Annotate(Validate(options, "csv"), file_name));
  if (text.size() > kMaxFileBytes) {
    return ResourceExhausted(std::string(file_name) + ": the file is over 4 GiB");
  }
  const bool is_latin1 = options.encoding() == "latin-1";
  CHORALE_RETURN_IF_ERROR(CheckBytes(text, is_latin1, file_name));
  std::string converted;
  if (is_latin1) {
    converted = Windows1252ToUtf8(text);
    text = converted;
  } else if (text.starts_with(kByteOrderMark)) {
    text.remove_prefix(kByteOrderMark.size());
  }

  CsvTable table;
  table.file_name = file_name;
  RowScanner scanner(text, options.delimiter().empty() ? ',' : options.delimiter()[0], file_name);
  std::size_t header_width = 0;
  CHORALE_ASSIGN_OR_RETURN(table.columns, ReadColumns(options, scanner, header_width));
  CHORALE_RETURN_IF_ERROR(ReadRows(scanner, header_width, table));
  return table;
}

StatusOr<CsvTable> ReadCsv(const std::filesystem::path& path, const v1::CsvConnector& options) {
  CHORALE_ASSIGN_OR_RETURN(const std::string text, storage::ReadFile(path, kMaxFileBytes));
  return ParseCsv(text, options, path.filename().string());
}

}  // namespace chorale::data
