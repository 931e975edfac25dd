#include <CLI/CLI.hpp>

#include "cli/program_beside.h"
#include "cli/verbs.h"

namespace chorale::cli {

void AddPrivacyAudit(CLI::App& group, Command& command) {
  CLI::App* verb = group.add_subcommand(
      "audit",
      "Tests that the noise of a job is what its guarantee says; see `chorale privacy audit "
      "--help`");
  // Everything behind the verb is for the other program, --help included.
  verb->prefix_command();
  verb->set_help_flag();
  verb->callback([verb, &command] {
    command.Choose([arguments = verb->remaining(), &command] {
      return RunProgramBeside("chorale-privacy-audit", arguments, command.terminal());
    });
  });
}

}  // namespace chorale::cli
