#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "cli/address.h"
#include "cli/output.h"
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
  std::vector<std::string> addresses;
  bool renew = false;
  unsigned valid_days = 7;
  unsigned certificate_days = 365;
  OutputFormat format = OutputFormat::kText;
};

StatusOr<identity::Invitation> ToInvitation(const Options& options) {
  identity::Invitation invitation;
  invitation.token_validity = std::chrono::hours(24) * options.valid_days;
  invitation.certificate_validity = std::chrono::hours(24) * options.certificate_days;
  if (!options.site.empty()) {
    invitation.role = v1::PARTY_ROLE_SITE;
    invitation.name = options.site;
  } else if (!options.researcher.empty()) {
    invitation.role = v1::PARTY_ROLE_RESEARCHER;
    invitation.name = options.researcher;
  } else {
    invitation.role = v1::PARTY_ROLE_COORDINATOR;
    invitation.name = options.coordinator;
    if (options.addresses.empty()) {
      return InvalidArgument(
          "a coordinator needs --address: the host names or IP addresses that sites dial, without "
          "the port; they are "
          "written into its certificate");
    }
  }
  if (invitation.role != v1::PARTY_ROLE_COORDINATOR && !options.addresses.empty()) {
    return InvalidArgument("--address is for a coordinator only: sites and researchers dial out");
  }
  for (const std::string& address : options.addresses) {
    CHORALE_RETURN_IF_ERROR(ValidateHost(address));
    auto& list = IsIpAddress(address) ? invitation.ip_addresses : invitation.dns_names;
    list.push_back(address);
  }
  return invitation;
}

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const identity::Invitation invitation, ToInvitation(options));
  CHORALE_ASSIGN_OR_RETURN(identity::Authority authority,
                           identity::Authority::Open(options.directory));
  const Time now = terminal.clock.WallNow();
  CHORALE_ASSIGN_OR_RETURN(const std::string token,
                           authority.Invite(invitation, options.renew, now));
  const std::string role = identity::RoleName(invitation.role);
  const std::string expires = FormatTime(now + invitation.token_validity);
  if (options.format == OutputFormat::kJson) {
    const nlohmann::ordered_json json = {
        {"token", token}, {"role", role}, {"name", invitation.name}, {"expires_at", expires}};
    terminal.out << json.dump(2) << '\n';
    return OkStatus();
  }
  // The token alone on standard output, so that a script can take it.
  terminal.out << token << '\n';
  terminal.err << "Invitation of " << role << " '" << invitation.name << "', good once, until "
               << expires << ".\n"
               << "Whoever holds the token can become this " << role
               << ": tell it over a channel that you trust.\n"
               << "Next, on the " << role << "'s machine:\n"
               << "  chorale " << role << " enrol --dir DIR --token TOKEN\n";
  return OkStatus();
}

}  // namespace

void AddFederationInvite(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb =
      group.add_subcommand("invite", "Makes a one-time token for a new member, and prints it");
  verb->add_option("--dir", options->directory, "The authority's directory")->required();
  CLI::Option_group* who = verb->add_option_group("member", "Who is invited");
  who->add_option("--site", options->site, "A hosting site, by name");
  who->add_option("--coordinator", options->coordinator, "The coordinator, by name");
  who->add_option("--researcher", options->researcher, "A researcher, by name");
  who->require_option(1);
  verb->add_option("--address", options->addresses,
                   "Coordinator: the hosts that sites dial, separated by commas")
      ->delimiter(',');
  verb->add_flag("--renew", options->renew,
                 "Replaces the certificate of a member in good standing");
  verb->add_option("--valid-days", options->valid_days, "Days until the token expires")
      ->check(CLI::Range(1u, 90u))
      ->capture_default_str();
  verb->add_option("--certificate-days", options->certificate_days,
                   "Days until the certificate expires")
      ->check(CLI::Range(1u, 3650u))
      ->capture_default_str();
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
