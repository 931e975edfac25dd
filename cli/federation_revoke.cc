#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include "cli/verbs.h"
#include "identity/authority.h"
#include "identity/party.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path directory;
  std::string site;
  std::string coordinator;
  std::string researcher;
  std::string reason;
};

Status Run(const Options& options, const Terminal& terminal) {
  v1::PartyRole role = v1::PARTY_ROLE_SITE;
  std::string name = options.site;
  if (!options.coordinator.empty()) {
    role = v1::PARTY_ROLE_COORDINATOR;
    name = options.coordinator;
  } else if (!options.researcher.empty()) {
    role = v1::PARTY_ROLE_RESEARCHER;
    name = options.researcher;
  }
  CHORALE_ASSIGN_OR_RETURN(identity::Authority authority,
                           identity::Authority::Open(options.directory));
  CHORALE_RETURN_IF_ERROR(authority.Revoke(role, name, options.reason, terminal.clock.WallNow()));
  terminal.out << "Revoked: " << identity::RoleName(role) << " '" << name << "'.\n"
               << "It takes effect when the coordinator has the new roster: "
               << authority.roster_path().string() << "\n";
  return OkStatus();
}

}  // namespace

void AddFederationRevoke(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("revoke", "Withdraws a member's admission");
  verb->add_option("--dir", options->directory, "The authority's directory")->required();
  CLI::Option_group* who = verb->add_option_group("member", "Who is revoked");
  who->add_option("--site", options->site, "A site, by name");
  who->add_option("--coordinator", options->coordinator, "A coordinator, by name");
  who->add_option("--researcher", options->researcher, "A researcher, by name");
  who->require_option(1);
  verb->add_option("--reason", options->reason, "Why: the member is told, and the roster keeps it")
      ->required();
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
