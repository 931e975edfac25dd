#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "core/status.h"

// CSV as hospitals export it (RFC 4180 and its dirt): quotes, embedded line ends, CRLF or CR alone,
// a byte-order mark, UTF-8 or Latin-1, other delimiters, blank lines, a delimiter at the end of
// every line.
//
//   file  := [BOM] row (END row)* [END]            END := LF | CRLF | CR
//   row   := cell (DELIMITER cell)*                blank lines are skipped
//   cell  := SPACE* '"' (CHAR | '""')* '"' SPACE*  quoted: may hold delimiters and line ends
//          | (CHAR except DELIMITER, LF, CR)*      a quote inside is an ordinary character
//
// Thread-safe: the functions share nothing.
namespace chorale::data {

struct CsvTable {
  std::vector<std::string> columns;
  // Cells as UTF-8 text, unquoted, white space around trimmed. [num_rows][columns.size()]
  std::vector<std::vector<std::string>> rows;
  std::vector<std::uint64_t> lines;  // Line of the file at which each row begins, from 1.
  std::string file_name;             // For messages; without directories.
};

// INVALID_ARGUMENT as a config::FieldError below `field` ("datasets[0].csv"): a delimiter that is
// no single ASCII character or could be part of a number, the same character for delimiter and
// decimal mark, an unknown encoding.
[[nodiscard]] Status Validate(const v1::CsvConnector& options, std::string_view field);

// INVALID_ARGUMENT "FILE:LINE: what is wrong": a row with another number of cells, an open quote,
// bytes that are not of the encoding, no header, repeated column names. The message never quotes a
// cell, nor a name of the header: in a file that has none, the first record stands there.
// RESOURCE_EXHAUSTED: over 4 GiB, 65536 columns or 1 MiB a cell.
//
// Cells after the last named column are dropped when they are empty in every row, and an error
// otherwise. A file read with encoding latin-1 is taken as Windows-1252, which differs only where
// Latin-1 has control characters.
[[nodiscard]] StatusOr<CsvTable> ParseCsv(std::string_view text, const v1::CsvConnector& options,
                                          std::string_view file_name);
// Also NOT_FOUND and PERMISSION_DENIED, as storage::ReadFile.
[[nodiscard]] StatusOr<CsvTable> ReadCsv(const std::filesystem::path& path,
                                         const v1::CsvConnector& options);

}  // namespace chorale::data
