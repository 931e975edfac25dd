#pragma once

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string_view>
#include <system_error>

#include "tests/support/source_directory.h"

namespace chorale::support {

// A file of the real health data, or nothing (and a line on standard output that says so) on a
// machine that has none: the data are no part of the product. A test that gets nothing returns
// early. The root is CHORALE_DATA, else ../shared/data from the repository's root.
[[nodiscard]] inline std::optional<std::filesystem::path> FindRealData(
    std::string_view relative_path) {
  const char* root = std::getenv("CHORALE_DATA");
  const std::filesystem::path path =
      (root != nullptr && *root != '\0' ? std::filesystem::path(root)
                                        : support::SourceDirectory() / ".." / "shared" / "data") /
      relative_path;
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) return path;
  std::cout << "not run: no " << relative_path << " here (set CHORALE_DATA)\n";
  return std::nullopt;
}

}  // namespace chorale::support
