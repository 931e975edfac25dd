#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include "cli/output.h"
#include "cli/verbs.h"
#include "identity/authority.h"
#include "identity/party.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path directory;
  OutputFormat format = OutputFormat::kText;
};

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const identity::Authority authority,
                           identity::Authority::Open(options.directory));
  CHORALE_ASSIGN_OR_RETURN(const v1::Roster roster, authority.LoadRoster());
  if (options.format == OutputFormat::kJson) return PrintJson(terminal.out, roster);
  terminal.out << "Federation " << Printable(roster.federation()) << ", roster version "
               << roster.version() << "\n";
  Table table({"ROLE", "NAME", "STANDING", "SERIAL"});
  for (const v1::RosterEntry& member : roster.members()) {
    const std::string standing =
        member.has_revoked_at()
            ? "revoked " + TimeCell(true, member.revoked_at()) + ": " + member.revocation_reason()
            : "good";
    table.AddRow({identity::RoleName(member.role()), member.name(), standing, member.serial()});
  }
  table.Print(terminal.out);
  return OkStatus();
}

}  // namespace

void AddFederationMembers(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("members", "Lists the members that the roster states");
  verb->add_option("--dir", options->directory, "The authority's directory")->required();
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
