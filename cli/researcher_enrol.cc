#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/address.h"
#include "cli/enrolment_flow.h"
#include "cli/new_file.h"
#include "cli/researcher_home.h"
#include "cli/verbs.h"
#include "core/storage/file.h"

namespace chorale::cli {
namespace {

struct Options {
  EnrolmentOptions enrolment;
  std::string coordinator;
};

Status Run(Options options, const Terminal& terminal) {
  CHORALE_RETURN_IF_ERROR(ValidateDialAddress("--coordinator", options.coordinator));
  options.enrolment.directory = Absolute(options.enrolment.directory);
  options.enrolment.identity_directory = options.enrolment.directory / "identity";
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(options.enrolment.directory));
  CHORALE_RETURN_IF_ERROR(SaveResearcherFile(options.enrolment.directory, options.coordinator));
  return Enrol(options.enrolment, v1::PARTY_ROLE_RESEARCHER, terminal);
}

}  // namespace

void AddResearcherEnrol(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  options->enrolment.directory = DefaultResearcherDirectory();
  CLI::App* verb = group.add_subcommand(
      "enrol", "Makes your keys here, gets your certificate, writes researcher.yaml");
  verb->add_option("--dir", options->enrolment.directory, "The researcher's directory")
      ->capture_default_str();
  verb->add_option("--coordinator", options->coordinator, "HOST:PORT of the coordinator")
      ->required();
  AddEnrolmentOptions(*verb, options->enrolment);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
