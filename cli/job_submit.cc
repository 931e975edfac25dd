#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "cli/job_progress.h"
#include "cli/output.h"
#include "cli/researcher_home.h"
#include "cli/verbs.h"
#include "core/bytes.h"
#include "core/crypto/random.h"
#include "jobs/job_spec.h"
#include "jobs/signed_job.h"

namespace chorale::cli {
namespace {

// A submission whose answer was lost is sent again under the same key, which makes it the same
// submission.
constexpr int kMaxAttempts = 3;

struct Options {
  std::filesystem::path researcher;
  std::filesystem::path file;
  bool waits = false;
  OutputFormat format = OutputFormat::kText;
};

std::string MakeIdempotencyKey() {
  Bytes bytes(16);
  crypto::SecureRandom().Fill(bytes);
  return ToHex(bytes);
}

StatusOr<std::string> Submit(const v1::JobSpec& spec, const Researcher& researcher) {
  v1::SubmitJobRequest request;
  *request.mutable_job() = jobs::SignJob(spec, researcher.identity);
  request.set_idempotency_key(MakeIdempotencyKey());
  for (int attempt = 1;; ++attempt) {
    const auto response = researcher.jobs->SubmitJob(request);
    if (response.ok()) return response->job_id();
    if (response.status().code() != StatusCode::kUnavailable || attempt == kMaxAttempts)
      return response.status();
  }
}

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const v1::JobSpec spec, jobs::LoadJobFile(options.file));
  CHORALE_ASSIGN_OR_RETURN(const Researcher researcher,
                           OpenResearcher(options.researcher, terminal.clock.WallNow()));
  CHORALE_ASSIGN_OR_RETURN(const std::string job_id, Submit(spec, researcher));
  if (options.waits) {
    if (options.format == OutputFormat::kText)
      terminal.err << "Submitted " << Printable(job_id) << ".\n";
    return FollowJob(*researcher.jobs, job_id, options.format, terminal);
  }
  if (options.format == OutputFormat::kJson) {
    const nlohmann::ordered_json json = {{"job_id", job_id}};
    terminal.out << json.dump(2) << '\n';
    return OkStatus();
  }
  // The id alone on standard output, so that a script can take it.
  terminal.out << Printable(job_id) << '\n';
  terminal.err << "Submitted. Next: chorale job watch " << Printable(job_id) << '\n';
  return OkStatus();
}

}  // namespace

void AddJobSubmit(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("submit", "Signs and submits a job, and prints its id");
  verb->add_option("job.yaml", options->file, "The job")->required();
  verb->add_flag("--wait", options->waits, "Watches the job until it ends; the exit code says how");
  AddResearcherOption(*verb, options->researcher);
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
