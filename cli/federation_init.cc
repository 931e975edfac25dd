#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include "cli/verbs.h"
#include "identity/authority.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path directory;
  std::string name;
};

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_RETURN_IF_ERROR(
      identity::Authority::Create(options.directory, options.name, terminal.clock.WallNow()));
  const std::string directory = options.directory.string();
  terminal.out << "Federation authority '" << options.name << "' created in " << directory << ".\n"
               << "Its keys decide who is a member: keep the directory offline, back it up, and do "
                  "not keep it on the\n"
               << "coordinator's machine.\n"
               << "Next, a coordinator and its address, then the sites and the researchers:\n"
               << "  chorale federation invite --dir " << directory
               << " --coordinator NAME --address HOST\n"
               << "  chorale federation invite --dir " << directory << " --site NAME\n"
               << "  chorale federation invite --dir " << directory << " --researcher NAME\n";
  return OkStatus();
}

}  // namespace

void AddFederationInit(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb =
      group.add_subcommand("init", "Creates a federation authority: root key, empty roster");
  verb->add_option("--dir", options->directory, "The authority's directory, to be kept offline")
      ->required();
  verb->add_option("--name", options->name, "The federation's name: a-z, 0-9 and -")->required();
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
