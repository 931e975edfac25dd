#include <CLI/CLI.hpp>

#include "cli/program_beside.h"
#include "cli/verbs.h"

namespace chorale::cli {

void AddEvaluate(CLI::App& program, Command& command) {
  CLI::App* verb = program.add_subcommand("evaluate",
                                          "Compares local, federated and centralized training on "
                                          "one split; see `chorale evaluate --help`");
  // Everything behind the verb is for the other program, --help included.
  verb->prefix_command();
  verb->set_help_flag();
  verb->callback([verb, &command] {
    command.Choose([arguments = verb->remaining(), &command] {
      return RunProgramBeside("chorale-evaluate", arguments, command.terminal());
    });
  });
}

}  // namespace chorale::cli
