#pragma once

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "tests/support/source_directory.h"

namespace chorale::privacy {

// A row of a table of reference values, by column; NaN where the table says so.
using ReferenceRow = std::map<std::string, double, std::less<>>;

inline std::vector<std::string> SplitCells(std::string_view line) {
  std::vector<std::string> cells(1);
  for (const char c : line) {
    if (c == ',') {
      cells.emplace_back();
    } else if (c != '\r') {
      cells.back() += c;
    }
  }
  return cells;
}

// The rows of a table of published or independently computed values, or none (and a line on
// standard output that says so) on a machine without them: they are no part of the product. The
// folder is CHORALE_REFERENCE, else ../shared/reference from the repository's root.
inline std::vector<ReferenceRow> ReadReference(std::string_view name) {
  const char* root = std::getenv("CHORALE_REFERENCE");
  const std::filesystem::path path =
      (root != nullptr && *root != '\0'
           ? std::filesystem::path(root)
           : support::SourceDirectory() / ".." / "shared" / "reference") /
      name;
  std::vector<ReferenceRow> rows;
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) {
    std::cout << "not run: no " << name << " here (set CHORALE_REFERENCE)\n";
    return rows;
  }
  const std::vector<std::string> columns = SplitCells(line);
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = SplitCells(line);
    ReferenceRow& row = rows.emplace_back();
    for (std::size_t i = 0; i < columns.size() && i < cells.size(); ++i) {
      double value = std::numeric_limits<double>::quiet_NaN();
      std::from_chars(cells[i].data(), cells[i].data() + cells[i].size(), value);
      row[columns[i]] = value;
    }
  }
  return rows;
}

}  // namespace chorale::privacy
