#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include "cli/output.h"
#include "cli/researcher_home.h"
#include "cli/verbs.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path researcher;
  OutputFormat format = OutputFormat::kText;
};

std::string StandingOf(const v1::SiteSummary& site) {
  if (site.is_revoked()) return "revoked";
  return site.is_connected() ? "connected" : "absent";
}

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const Researcher researcher,
                           OpenResearcher(options.researcher, terminal.clock.WallNow()));
  CHORALE_ASSIGN_OR_RETURN(const v1::ListSitesResponse response, researcher.jobs->ListSites({}));
  if (options.format == OutputFormat::kJson) return PrintJson(terminal.out, response);
  Table table({"SITE", "STATE", "LAST SEEN (UTC)", "AGENT", "DATASETS"});
  for (const v1::SiteSummary& site : response.sites()) {
    std::string datasets;
    for (const std::string& dataset : site.datasets())
      datasets += (datasets.empty() ? "" : " ") + dataset;
    table.AddRow({site.site(), StandingOf(site), TimeCell(site.has_last_seen(), site.last_seen()),
                  site.agent_version().empty() ? "-" : site.agent_version(),
                  datasets.empty() ? "-" : datasets});
  }
  table.Print(terminal.out);
  for (const v1::SiteSummary& site : response.sites()) {
    for (const std::string& problem : site.problems()) {
      terminal.out << Printable(site.site()) << ": " << Printable(problem) << '\n';
    }
  }
  return OkStatus();
}

}  // namespace

void AddCoordinatorSites(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand(
      "sites", "Lists the sites of the roster: who is there, with which datasets");
  AddResearcherOption(*verb, options->researcher);
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
