#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/verbs.h"
#include "core/version.h"

namespace chorale::cli {
namespace {

constexpr char kFooter[] =
    "`chorale <group> --help` lists the verbs of a group, `chorale <group> <verb> --help` the "
    "options of a verb.\n"
    "Exit codes: 0 done, 1 internal, 2 usage, 3 invalid input, 4 refused, 5 unavailable, 6 job "
    "failed,\n"
    "7 job cancelled, 130 interrupted.";

CLI::App& AddGroup(CLI::App& parent, const std::string& name, const std::string& what) {
  CLI::App* group = parent.add_subcommand(name, what);
  group->require_subcommand(1);
  return *group;
}

void AddVerbs(CLI::App& program, Command& command) {
  CLI::App& federation = AddGroup(program, "federation", "The federation authority, kept offline");
  AddFederationInit(federation, command);
  AddFederationInvite(federation, command);
  AddFederationSign(federation, command);
  AddFederationRevoke(federation, command);
  AddFederationMembers(federation, command);

  CLI::App& site = AddGroup(program, "site", "A hospital's directory: identity, datasets, policy");
  AddSiteInit(site, command);
  AddSiteEnrol(site, command);
  CLI::App& dataset = AddGroup(site, "dataset", "The tables that a site offers");
  AddSiteDatasetAdd(dataset, command);
  AddSiteDatasetList(dataset, command);
  AddSiteAllow(site, command);
  AddSiteCheck(site, command);
  AddSiteBudget(site, command);
  AddSiteBackup(site, command);
  AddSiteAcceptLoss(site, command);

  CLI::App& coordinator =
      AddGroup(program, "coordinator", "The coordinator's directory, and what it knows of sites");
  AddCoordinatorInit(coordinator, command);
  AddCoordinatorEnrol(coordinator, command);
  AddCoordinatorSites(coordinator, command);
  AddCoordinatorBackup(coordinator, command);
  AddCoordinatorAcceptLoss(coordinator, command);

  CLI::App& researcher = AddGroup(program, "researcher", "Who you are as a researcher");
  AddResearcherEnrol(researcher, command);

  CLI::App& job = AddGroup(program, "job", "Training jobs");
  AddJobSubmit(job, command);
  AddJobWatch(job, command);
  AddJobList(job, command);
  AddJobShow(job, command);
  AddJobWhy(job, command);
  AddJobCancel(job, command);

  CLI::App& model = AddGroup(program, "model", "Models, before and after training");
  AddModelPull(model, command);
  AddModelShow(model, command);

  CLI::App& privacy = AddGroup(program, "privacy", "What training costs patients: epsilon, delta");
  AddPrivacyAudit(privacy, command);
  AddPrivacyEpsilon(privacy, command);
  AddPrivacyNoise(privacy, command);
  AddPrivacyPlan(privacy, command);
  AddPrivacySteps(privacy, command);
  AddPrivacyRdp(privacy, command);
  CLI::App& secagg = AddGroup(program, "secagg", "Secure aggregation: what it tolerates and costs");
  AddSecaggExplain(secagg, command);

  AddEvaluate(program, command);

  CLI::App& data = AddGroup(program, "data", "Data to try things out with");
  AddDataSynthetic(data, command);
}

}  // namespace

Status Command::Run() const {
  return action_ ? action_() : Internal("no verb was chosen; please report this");
}

ExitCode RunCommandLine(std::span<const std::string> arguments, const Terminal& terminal) {
  CLI::App program("chorale: federated learning for hospitals", "chorale");
  program.require_subcommand(1);
  program.set_version_flag("--version", "chorale " + Version());
  program.footer(kFooter);
  Command command(terminal);
  AddVerbs(program, command);

  // CLI11 takes the arguments from the back.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    program.parse(reversed);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      program.exit(error, terminal.out, terminal.err);  // --help and --version.
      return ExitCode::kOk;
    }
    terminal.err << "chorale: " << Printable(error.what()) << "; see `chorale --help`\n";
    return ExitCode::kUsage;
  }

  const Status status = command.Run();
  terminal.out.flush();
  if (!status.ok()) terminal.err << "chorale: " << Printable(MessageOf(status)) << '\n';
  return ExitCodeFor(status);
}

}  // namespace chorale::cli
