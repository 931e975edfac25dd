#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <exception>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/exit_code.h"
#include "core/bytes.h"
#include "evaluation/arms.h"
#include "evaluation/inputs.h"
#include "evaluation/report.h"
#include "jobs/job_spec.h"
#include "training/torch_trainer.h"

namespace chorale::cli {
namespace {

constexpr char kDescription[] =
    "Compares local, federated and centralized training of one job on the same test rows.\n"
    "Reads every site's rows in this one place: for public or synthetic data, or an evaluator who "
    "may hold them all.";
constexpr char kFooter[] =
    "Exit codes: 0 done, 1 internal, 2 usage, 3 invalid input, 4 refused, 5 unavailable, 130 "
    "interrupted.";

struct Options {
  std::string job;
  std::string federated;
  std::string run;
  std::vector<std::string> sites;
  std::string dataset_config_dir;
  std::string out;
  std::string format = "text";
  std::string device = "auto";
  int threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 1024u));
};

// Set by Ctrl-C, looked at between steps of training. A signal handler can reach nothing but a
// global.
std::atomic<bool> interrupted = false;

void DeclareOptions(CLI::App& app, Options& options) {
  app.add_option("--job", options.job, "The job.yaml that the model was trained with")->required();
  app.add_option("--federated", options.federated,
                 "The federated model (safetensors), from `chorale model pull`")
      ->required();
  app.add_option("--site", options.sites, "NAME=PATH of a site.yaml; once for every site")
      ->required();
  app.add_option("--run", options.run,
                 "What `chorale job show JOB --format json` printed: adds curves, traffic, times");
  app.add_option("--dataset-config-dir", options.dataset_config_dir,
                 "Where relative paths of tables start (default: beside each site.yaml)");
  app.add_option("--out", options.out, "Directory for report.json and report.html");
  app.add_option("--format", options.format, "What to print: text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--device", options.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--threads", options.threads, "CPU threads for training")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
}

// Everything the comparison reads. The arms point into it.
struct Inputs {
  v1::JobSpec job;
  evaluation::LoadedModel federated;
  ParameterVector initial;  // Empty: initialised from the seed.
  std::optional<evaluation::RunRecord> run;
  std::vector<std::string> names;
  std::vector<data::Dataset> datasets;  // In the order of `names`.
};

StatusOr<Inputs> ReadInputs(const Options& options) {
  Inputs inputs;
  CHORALE_ASSIGN_OR_RETURN(inputs.job, jobs::LoadJobFile(options.job));
  CHORALE_ASSIGN_OR_RETURN(inputs.federated,
                           evaluation::LoadFederatedModel(options.federated, inputs.job));
  if (!options.run.empty()) {
    CHORALE_ASSIGN_OR_RETURN(inputs.run, evaluation::LoadRunRecord(options.run));
    CHORALE_RETURN_IF_ERROR(evaluation::CheckSameJob(*inputs.run, inputs.job));
  }
  CHORALE_ASSIGN_OR_RETURN(inputs.initial,
                           evaluation::LoadInitialModel(options.job, inputs.job,
                                                        inputs.run ? &inputs.run->spec : nullptr));
  std::optional<std::filesystem::path> directory;
  if (!options.dataset_config_dir.empty()) directory = options.dataset_config_dir;
  for (const std::string& argument : options.sites) {
    CHORALE_ASSIGN_OR_RETURN(const evaluation::SiteFile site, evaluation::ParseSiteFile(argument));
    CHORALE_ASSIGN_OR_RETURN(data::Dataset dataset,
                             evaluation::LoadSiteDataset(site, inputs.job, directory));
    inputs.names.push_back(site.name);
    inputs.datasets.push_back(std::move(dataset));
  }
  return inputs;
}

Status Evaluate(const Options& options) {
  CHORALE_ASSIGN_OR_RETURN(Inputs inputs, ReadInputs(options));
  CHORALE_ASSIGN_OR_RETURN(
      const std::unique_ptr<training::LocalTrainer> trainer,
      training::MakeTorchTrainer({.device = options.device, .threads = options.threads}));
  std::vector<evaluation::Site> sites;
  for (std::size_t i = 0; i < inputs.datasets.size(); ++i) {
    sites.push_back({.name = inputs.names[i], .dataset = &inputs.datasets[i]});
  }
  std::optional<std::uint32_t> published_rounds;
  if (inputs.run) published_rounds = inputs.run->num_published;
  CHORALE_ASSIGN_OR_RETURN(
      evaluation::Comparison comparison,
      evaluation::CompareArms(
          {.job = inputs.job,
           .sites = sites,
           .federated_parameters = inputs.federated.parameters,
           .trainer = *trainer,
           .published_rounds = published_rounds,
           .initial_parameters = inputs.initial,
           .on_arm = [](std::string_view arm) { std::cerr << "evaluating: " << arm << "\n"; },
           .cancelled = &interrupted}));
  const evaluation::ReportContent content{.job = std::move(inputs.job),
                                          .num_parameters = inputs.federated.parameters.size(),
                                          .model_digest = ToHex(inputs.federated.blob.digest),
                                          .device = trainer->device(),
                                          .comparison = std::move(comparison),
                                          .run = std::move(inputs.run)};
  if (!options.out.empty()) CHORALE_RETURN_IF_ERROR(evaluation::WriteReport(content, options.out));
  std::cout << (options.format == "json" ? evaluation::ToJson(content)
                                         : evaluation::ToText(content))
            << std::flush;
  if (!std::cout) return Unavailable("standard output cannot be written");
  if (!options.out.empty()) {
    std::cerr << "wrote " << (std::filesystem::path(options.out) / "report.json").string()
              << " and report.html\n";
  }
  return OkStatus();
}

ExitCode Main(int argc, char** argv) {
  CLI::App app(kDescription, "chorale-evaluate");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("chorale-evaluate ") + CHORALE_VERSION);
  Options options;
  DeclareOptions(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? ExitCode::kOk : ExitCode::kUsage;
  }
  std::signal(SIGINT, [](int) { interrupted = true; });
  std::signal(SIGTERM, [](int) { interrupted = true; });
  const Status status = Evaluate(options);
  if (interrupted) {
    std::cerr << "chorale-evaluate: interrupted\n";
    return ExitCode::kInterrupted;
  }
  if (!status.ok()) std::cerr << "chorale-evaluate: " << MessageOf(status) << "\n";
  return ExitCodeFor(status);
}

}  // namespace
}  // namespace chorale::cli

int main(int argc, char** argv) {
  try {
    return static_cast<int>(chorale::cli::Main(argc, argv));
  } catch (const std::exception& error) {
    // Out of memory, or a bug: no exception of ours comes here.
    std::cerr << "chorale-evaluate: " << error.what()
              << "; this is a bug or a machine out of memory\n";
    return static_cast<int>(chorale::cli::ExitCode::kInternal);
  }
}
