#include "cli/torch_program.h"

#include <csignal>
#include <exception>
#include <iostream>

#include "cli/exit_code.h"
#include "core/version.h"

namespace chorale::cli {
namespace {

// A signal handler can reach nothing but a global.
std::atomic<bool> interrupted = false;

ExitCode Run(const TorchProgram& program, int argc, char** argv) {
  CLI::App app(program.description, program.name);
  app.footer(program.footer);
  app.set_version_flag("--version", program.name + " " + Version());
  program.declare(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? ExitCode::kOk : ExitCode::kUsage;
  }
  std::signal(SIGINT, [](int) { interrupted = true; });
  std::signal(SIGTERM, [](int) { interrupted = true; });
  const Status status = program.run(interrupted);
  if (interrupted) {
    std::cerr << program.name << ": interrupted\n";
    return ExitCode::kInterrupted;
  }
  if (!status.ok()) std::cerr << program.name << ": " << MessageOf(status) << "\n";
  return ExitCodeFor(status);
}

}  // namespace

int RunTorchProgram(const TorchProgram& program, int argc, char** argv) {
  try {
    return static_cast<int>(Run(program, argc, argv));
  } catch (const std::exception& error) {
    // Out of memory, or a bug: no exception of ours comes here.
    std::cerr << program.name << ": " << error.what()
              << "; this is a bug or a machine out of memory\n";
    return static_cast<int>(ExitCode::kInternal);
  }
}

}  // namespace chorale::cli
