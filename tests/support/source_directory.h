#pragma once

#include <filesystem>

namespace chorale::support {

// The root of the tree that the tests were built from.
[[nodiscard]] std::filesystem::path SourceDirectory();

}  // namespace chorale::support
