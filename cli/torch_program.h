#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <functional>
#include <string>

#include "core/status.h"

namespace chorale::cli {

// What the programs beside `chorale` have in common (program_beside.h): one command line without
// verbs, the exit codes of docs/exit_codes.md, and an end on Ctrl-C.
struct TorchProgram {
  std::string name;
  std::string description;
  std::string footer;
  std::function<void(CLI::App&)> declare;  // Adds the options.
  // `interrupted` is set by SIGINT and SIGTERM: it ends soon then, whatever it returns.
  std::function<Status(const std::atomic<bool>& interrupted)> run;
};

// The whole of main(). Throws nothing.
[[nodiscard]] int RunTorchProgram(const TorchProgram& program, int argc, char** argv);

}  // namespace chorale::cli
