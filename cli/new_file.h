#pragma once

#include <filesystem>
#include <string_view>

#include "core/status.h"

namespace chorale::cli {

// Writes a configuration file of a party's own directory, which is made if need be. ALREADY_EXISTS
// rather than over another's work.
[[nodiscard]] Status WriteNewFile(const std::filesystem::path& file, std::string_view text);

// Absolute, without dots and without a slash at the end.
[[nodiscard]] std::filesystem::path Absolute(const std::filesystem::path& path);

}  // namespace chorale::cli
