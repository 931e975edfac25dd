#include <unistd.h>

#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "cli/command_line.h"

int main(int argc, char** argv) {
  try {
    const chorale::SystemClock clock;
    const chorale::cli::Terminal terminal{.out = std::cout,
                                          .err = std::cerr,
                                          .in = std::cin,
                                          .out_is_terminal = ::isatty(STDOUT_FILENO) == 1,
                                          .clock = clock};
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    return static_cast<int>(chorale::cli::RunCommandLine(arguments, terminal));
  } catch (const std::exception& error) {
    // Out of memory, or a bug: no exception of ours comes here.
    std::cerr << "chorale: " << error.what() << "; this is a bug or a machine out of memory\n";
    return static_cast<int>(chorale::cli::ExitCode::kInternal);
  }
}
