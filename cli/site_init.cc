#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include "cli/address.h"
#include "cli/new_file.h"
#include "cli/site_file.h"
#include "cli/verbs.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path directory;
  std::string coordinator;
};

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_RETURN_IF_ERROR(ValidateDialAddress("--coordinator", options.coordinator));
  const std::filesystem::path directory = Absolute(options.directory);
  const std::filesystem::path file = SiteFilePath(directory);
  CHORALE_RETURN_IF_ERROR(WriteNewFile(file, RenderSiteFile(options.coordinator)));
  terminal.out << "Site created: " << file.string()
               << ". It offers nothing and allows nothing yet.\n"
               << "Next:\n"
               << "  chorale site enrol --dir " << directory.string() << " --token TOKEN\n"
               << "  chorale site dataset add --dir " << directory.string()
               << " --id ID --csv FILE\n"
               << "  chorale site allow --dir " << directory.string()
               << " --researcher NAME --dataset ID --model logistic_regression --metric loss\n"
               << "  chorale site check --dir " << directory.string() << "\n"
               << "  chorale-site-agent --config " << file.string() << "\n";
  return OkStatus();
}

}  // namespace

void AddSiteInit(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb =
      group.add_subcommand("init", "Writes a commented site.yaml that offers and allows nothing");
  verb->add_option("--dir", options->directory, "The site's directory")->required();
  verb->add_option("--coordinator", options->coordinator, "HOST:PORT to dial")->required();
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
