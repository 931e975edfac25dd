#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>

#include "cli/job_text.h"
#include "cli/output.h"
#include "cli/researcher_home.h"
#include "cli/verbs.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path researcher;
  std::uint32_t limit = 100;
  OutputFormat format = OutputFormat::kText;
};

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const Researcher researcher,
                           OpenResearcher(options.researcher, terminal.clock.WallNow()));
  v1::ListJobsRequest request;
  request.set_limit(options.limit);
  CHORALE_ASSIGN_OR_RETURN(const v1::ListJobsResponse response, researcher.jobs->ListJobs(request));
  if (options.format == OutputFormat::kJson) return PrintJson(terminal.out, response);
  Table table({"JOB", "NAME", "RESEARCHER", "STATE", "ROUNDS", "SUBMITTED (UTC)", "REASON"});
  for (const v1::JobSummary& job : response.jobs()) {
    table.AddRow(
        {job.job_id(), job.name(), job.researcher(), std::string(JobStateName(job.state())),
         std::to_string(job.published_rounds()) + "/" + std::to_string(job.wanted_rounds()),
         TimeCell(job.has_submitted_at(), job.submitted_at()),
         job.reason().empty() ? "-" : job.reason()});
  }
  table.Print(terminal.out);
  return OkStatus();
}

}  // namespace

void AddJobList(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("list", "Lists jobs, newest first");
  verb->add_option("--limit", options->limit, "Most jobs to list")
      ->check(CLI::Range(1u, 1000u))
      ->capture_default_str();
  AddResearcherOption(*verb, options->researcher);
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
