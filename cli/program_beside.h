#pragma once

#include <string>
#include <vector>

#include "cli/verbs.h"
#include "core/status.h"

namespace chorale::cli {

// Replaces this program by another from its own directory, which gives its own exit code: what
// links LibTorch, which takes a second to load, is a program of its own. Returns only where that
// fails.
[[nodiscard]] Status RunProgramBeside(const std::string& name,
                                      const std::vector<std::string>& arguments,
                                      const Terminal& terminal);

}  // namespace chorale::cli
