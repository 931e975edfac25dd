#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include "cli/job_text.h"
#include "cli/output.h"
#include "cli/researcher_home.h"
#include "cli/verbs.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path researcher;
  std::string job_id;
  OutputFormat format = OutputFormat::kText;
};

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const Researcher researcher,
                           OpenResearcher(options.researcher, terminal.clock.WallNow()));
  v1::CancelJobRequest request;
  request.set_job_id(options.job_id);
  CHORALE_ASSIGN_OR_RETURN(const v1::CancelJobResponse response,
                           researcher.jobs->CancelJob(request));
  if (options.format == OutputFormat::kJson) return PrintJson(terminal.out, response);
  const v1::JobSummary& job = response.job();
  terminal.out << Printable(job.job_id()) << ' ' << JobStateName(job.state()) << ", "
               << job.published_rounds() << " of " << job.wanted_rounds() << " rounds published\n";
  return OkStatus();
}

}  // namespace

void AddJobCancel(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("cancel", "Cancels a job that you submitted");
  verb->add_option("id", options->job_id, "The job")->required();
  AddResearcherOption(*verb, options->researcher);
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
