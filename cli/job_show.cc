#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cli/job_text.h"
#include "cli/output.h"
#include "cli/researcher_home.h"
#include "cli/verbs.h"
#include "jobs/privacy_spec.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path researcher;
  std::string job_id;
  OutputFormat format = OutputFormat::kText;
};

void PrintText(const v1::ShowJobResponse& response, std::ostream& out) {
  const v1::JobSummary& job = response.job();
  v1::JobSpec spec;
  const bool known = spec.ParseFromString(response.spec());  // Not that of a newer version.
  if (!known) spec.Clear();
  out << "job        " << Printable(job.job_id()) << '\n'
      << "name       " << Printable(job.name()) << '\n'
      << "researcher " << Printable(job.researcher()) << '\n'
      << "state      " << JobStateName(job.state()) << '\n';
  if (!job.reason().empty()) out << "reason     " << Printable(job.reason()) << '\n';
  if (known) {
    out << "reports    "
        << (spec.secure_aggregation().has_none() ? "in the clear: the coordinator sees each"
                                                 : "masked: the coordinator sees their sum")
        << '\n';
  }
  if (known && jobs::IsPrivate(spec)) {
    std::vector<std::uint32_t> numbers;
    for (const v1::RoundRecord& round : response.rounds()) numbers.push_back(round.round());
    const auto statement = jobs::StatementOf(spec, jobs::CountRounds(spec, numbers));
    out << "privacy    " << (statement.ok() ? privacy::ToText(*statement) : "no guarantee") << '\n';
  }
  out << "rounds     " << job.published_rounds() << " of " << job.wanted_rounds() << " published\n"
      << "submitted  " << TimeCell(job.has_submitted_at(), job.submitted_at()) << '\n'
      << "ended      " << TimeCell(job.has_ended_at(), job.ended_at()) << "\n\n";

  Table table(
      {"ROUND", "END", "IN", "LATE", "OUT", "EXAMPLES", "LOSS", "DOWN", "UP", "TIME", "NOTE"});
  for (const v1::RoundRecord& round : response.rounds()) {
    const SiteCounts counts = CountSites(round.sites());
    std::string note = round.reason();
    if (const std::string clipping = ClippingText(round); !clipping.empty())
      note += (note.empty() ? "" : "; ") + clipping;
    for (const std::string& site : DescribeMissing(round.sites()))
      note += (note.empty() ? "" : "; ") + site;
    table.AddRow({RoundLabel(round.phase(), round.round()),
                  round.published() ? "published" : "abandoned", std::to_string(counts.reported),
                  std::to_string(counts.late), std::to_string(counts.out),
                  round.num_examples() == 0 ? "-" : std::to_string(round.num_examples()),
                  LossText(round), FormatBytes(round.bytes_down()), FormatBytes(round.bytes_up()),
                  FormatDuration(TimeOf(round.ended_at()) - TimeOf(round.started_at())),
                  note.empty() ? "-" : note});
  }
  table.Print(out);

  for (const v1::RoundRecord& round : response.rounds()) {
    const std::string statistics = StatisticsText(round, spec);
    if (!statistics.empty()) out << "\ncolumns over all sites\n" << statistics;
  }
}

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const Researcher researcher,
                           OpenResearcher(options.researcher, terminal.clock.WallNow()));
  v1::ShowJobRequest request;
  request.set_job_id(options.job_id);
  CHORALE_ASSIGN_OR_RETURN(const v1::ShowJobResponse response, researcher.jobs->ShowJob(request));
  if (options.format == OutputFormat::kJson) return PrintJson(terminal.out, response);
  PrintText(response, terminal.out);
  return OkStatus();
}

}  // namespace

void AddJobShow(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb =
      group.add_subcommand("show", "Shows a job: its state and every round, with who took part");
  verb->add_option("id", options->job_id, "The job")->required();
  AddResearcherOption(*verb, options->researcher);
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
