#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <span>
#include <string>
#include <thread>

#include "cli/initial_model.h"
#include "cli/job_progress.h"
#include "cli/new_file.h"
#include "cli/output.h"
#include "cli/researcher_home.h"
#include "cli/verbs.h"
#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/crypto/random.h"
#include "core/parameters.h"
#include "core/rpc/chunks.h"
#include "jobs/job_spec.h"
#include "jobs/privacy_spec.h"
#include "jobs/signed_job.h"

namespace chorale::cli {
namespace {

// A submission whose answer was lost is sent again under the same key, which makes it the same
// submission.
constexpr std::array<std::chrono::milliseconds, 5> kPauses = {
    std::chrono::milliseconds(250), std::chrono::milliseconds(500), std::chrono::seconds(1),
    std::chrono::seconds(2), std::chrono::seconds(4)};

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
  for (std::size_t attempt = 0;; ++attempt) {
    const auto response = researcher.jobs->SubmitJob(request);
    if (response.ok()) return response->job_id();
    if (response.status().code() != StatusCode::kUnavailable || attempt == kPauses.size()) {
      return response.status();
    }
    // A coordinator that is started again is back in a moment.
    std::this_thread::sleep_for(kPauses[attempt]);
  }
}

// Sends the weights that the job starts from, if any, and names them in the specification. The file
// is found beside job.yaml.
Status UploadInitialModel(const Options& options, const Researcher& researcher,
                          const Terminal& terminal, v1::JobSpec& spec) {
  if (!spec.has_initial_model()) return OkStatus();
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan plan, jobs::PlanOf(spec));
  const std::filesystem::path path =
      Absolute(options.file).parent_path() / spec.initial_model().file();
  CHORALE_ASSIGN_OR_RETURN(const ParameterVector weights,
                           LoadInitialModel(path.lexically_normal(), plan.layout()));
  const ByteSpan bytes = AsBytes(std::span<const float>(weights));
  const crypto::BlobId id = crypto::IdentifyBlob(bytes);
  terminal.err << "Uploading " << FormatBytes(id.size_bytes) << " of initial weights.\n";
  CHORALE_RETURN_IF_ERROR(researcher.jobs->UploadModel(id, bytes, [&](std::uint64_t sent) {
    terminal.err << "The connection was lost; going on after " << FormatBytes(sent) << ".\n";
  }));
  *spec.mutable_initial_model()->mutable_weights() = rpc::ToProto(id);
  return OkStatus();
}

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(v1::JobSpec spec, jobs::LoadJobFile(options.file));
  CHORALE_ASSIGN_OR_RETURN(const Researcher researcher,
                           OpenResearcher(options.researcher, terminal.clock.WallNow()));
  if (jobs::IsPrivate(spec)) {
    CHORALE_RETURN_IF_ERROR(jobs::CalibrateNoise(spec));
    CHORALE_ASSIGN_OR_RETURN(const privacy::Statement statement,
                             jobs::StatementOf(spec, jobs::MostRounds(spec)));
    terminal.err << "Noise multiplier " << spec.privacy().noise_multiplier() << ": "
                 << privacy::ToText(statement) << ".\n";
  }
  CHORALE_RETURN_IF_ERROR(UploadInitialModel(options, researcher, terminal, spec));
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
