#pragma once

#include <string>
#include <vector>

#include "core/status.h"

namespace chorale::bench {

// What every benchmark takes: [--json FILE] [--quick].
struct Options {
  std::string json_file;  // Empty: no file.
  bool is_quick = false;  // Within 60 s.
};

// INVALID_ARGUMENT names the argument that is not known.
[[nodiscard]] StatusOr<Options> ParseOptions(const std::vector<std::string>& arguments);

// The processor's name and the number of cores this process may use.
[[nodiscard]] std::string Machine();

[[nodiscard]] Status WriteJson(const Options& options, const std::string& json);

// Prints an error, if any, and returns the exit status.
[[nodiscard]] int Finish(const Status& status);

}  // namespace chorale::bench
