#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include "cli/coordinator_file.h"
#include "cli/new_file.h"
#include "cli/verbs.h"
#include "core/rpc/address.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path directory;
  std::string listen;
  std::filesystem::path roster;
};

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_RETURN_IF_ERROR(rpc::ParseAddress("--listen", options.listen).status());
  const std::filesystem::path directory = Absolute(options.directory);
  const std::filesystem::path file = CoordinatorFilePath(directory);
  const std::filesystem::path roster = Absolute(options.roster);
  CHORALE_RETURN_IF_ERROR(WriteNewFile(file, RenderCoordinatorFile(options.listen, roster)));
  terminal.out << "Coordinator created: " << file.string() << ".\n"
               << "Next:\n"
               << "  chorale coordinator enrol --dir " << directory.string() << " --token TOKEN\n"
               << "  keep the authority's roster.yaml at " << roster.string() << "\n"
               << "  chorale-coordinator --config " << file.string() << "\n";
  return OkStatus();
}

}  // namespace

void AddCoordinatorInit(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("init", "Writes a commented coordinator.yaml");
  verb->add_option("--dir", options->directory, "The coordinator's directory")->required();
  verb->add_option("--listen", options->listen, "HOST:PORT to listen on; port 0 picks a free one")
      ->required();
  verb->add_option("--roster", options->roster, "The roster that the authority signed")->required();
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
