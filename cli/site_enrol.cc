#include <CLI/CLI.hpp>
#include <memory>

#include "cli/enrolment_flow.h"
#include "cli/new_file.h"
#include "cli/site_file.h"
#include "cli/verbs.h"

namespace chorale::cli {
namespace {

Status Run(EnrolmentOptions options, const Terminal& terminal) {
  options.directory = Absolute(options.directory);
  CHORALE_ASSIGN_OR_RETURN(options.identity_directory, SiteIdentityDirectory(options.directory));
  return Enrol(options, v1::PARTY_ROLE_SITE, terminal);
}

}  // namespace

void AddSiteEnrol(CLI::App& group, Command& command) {
  const auto options = std::make_shared<EnrolmentOptions>();
  CLI::App* verb =
      group.add_subcommand("enrol", "Makes the site's keys here and gets its certificate");
  verb->add_option("--dir", options->directory, "The site's directory")->required();
  AddEnrolmentOptions(*verb, *options);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
