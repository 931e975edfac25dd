#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/torch_program.h"
#include "core/bytes.h"
#include "evaluation/arms.h"
#include "evaluation/inputs.h"
#include "evaluation/report.h"
#include "jobs/job_spec.h"
#include "jobs/privacy_spec.h"
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
  std::string private_model;
  std::string private_run;
  std::vector<std::string> sites;
  std::string dataset_config_dir;
  std::string out;
  std::string format = "text";
  std::string device = "auto";
  int threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 1024u));
};

void DeclareOptions(CLI::App& app, Options& options) {
  app.add_option("--job", options.job, "The job.yaml that the model was trained with")->required();
  app.add_option("--federated", options.federated,
                 "The federated model (safetensors), from `chorale model pull`")
      ->required();
  app.add_option("--site", options.sites, "NAME=PATH of a site.yaml; once for every site")
      ->required();
  app.add_option("--run", options.run,
                 "What `chorale job show JOB --format json` printed: adds curves, traffic, times");
  CLI::Option* model =
      app.add_option("--private", options.private_model,
                     "A model (safetensors) that a private job made on the same rows: adds an arm");
  CLI::Option* run = app.add_option(
      "--private-run", options.private_run,
      "What `chorale job show` printed of that job: its specification and what it guarantees");
  model->needs(run);
  run->needs(model);
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

// What the private arm reads.
struct PrivateInputs {
  evaluation::LoadedModel model;
  evaluation::RunRecord run;
  std::vector<data::Dataset> datasets;
};

// Everything the comparison reads. The arms point into it.
struct Inputs {
  v1::JobSpec job;
  evaluation::LoadedModel federated;
  ParameterVector initial;  // Empty: initialised from the seed.
  std::optional<evaluation::RunRecord> run;
  std::vector<std::string> names;
  std::vector<data::Dataset> datasets;  // In the order of `names`.
  std::optional<PrivateInputs> private_inputs;
};

StatusOr<std::vector<data::Dataset>> ReadDatasets(const Options& options, const v1::JobSpec& job) {
  std::optional<std::filesystem::path> directory;
  if (!options.dataset_config_dir.empty()) directory = options.dataset_config_dir;
  std::vector<data::Dataset> datasets;
  for (const std::string& argument : options.sites) {
    CHORALE_ASSIGN_OR_RETURN(const evaluation::SiteFile site, evaluation::ParseSiteFile(argument));
    CHORALE_ASSIGN_OR_RETURN(data::Dataset dataset,
                             evaluation::LoadSiteDataset(site, job, directory));
    datasets.push_back(std::move(dataset));
  }
  return datasets;
}

StatusOr<PrivateInputs> ReadPrivate(const Options& options) {
  PrivateInputs inputs;
  CHORALE_ASSIGN_OR_RETURN(inputs.run, evaluation::LoadRunRecord(options.private_run));
  if (!jobs::IsPrivate(inputs.run.spec)) {
    return InvalidArgument(options.private_run + ": the job has no privacy section");
  }
  CHORALE_ASSIGN_OR_RETURN(inputs.model,
                           evaluation::LoadFederatedModel(options.private_model, inputs.run.spec));
  CHORALE_ASSIGN_OR_RETURN(inputs.datasets, ReadDatasets(options, inputs.run.spec));
  return inputs;
}

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
  for (const std::string& argument : options.sites) {
    CHORALE_ASSIGN_OR_RETURN(const evaluation::SiteFile site, evaluation::ParseSiteFile(argument));
    inputs.names.push_back(site.name);
  }
  CHORALE_ASSIGN_OR_RETURN(inputs.datasets, ReadDatasets(options, inputs.job));
  if (!options.private_run.empty()) {
    CHORALE_ASSIGN_OR_RETURN(inputs.private_inputs, ReadPrivate(options));
  }
  return inputs;
}

std::vector<evaluation::Site> SitesOf(const std::vector<std::string>& names,
                                      const std::vector<data::Dataset>& datasets) {
  std::vector<evaluation::Site> sites;
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    sites.push_back({.name = names[i], .dataset = &datasets[i]});
  }
  return sites;
}

Status AddPrivateArm(const Inputs& inputs, training::LocalTrainer& trainer,
                     const std::atomic<bool>& interrupted, evaluation::Comparison& comparison) {
  if (!inputs.private_inputs) return OkStatus();
  const auto& [model, run, datasets] = *inputs.private_inputs;
  const std::vector<evaluation::Site> sites = SitesOf(inputs.names, datasets);
  CHORALE_ASSIGN_OR_RETURN(evaluation::Arm arm,
                           evaluation::JudgePrivate({.job = run.spec,
                                                     .sites = sites,
                                                     .federated_parameters = model.parameters,
                                                     .trainer = trainer,
                                                     .published_rounds = run.num_published,
                                                     .noisy_moments = run.noisy_moments,
                                                     .cancelled = &interrupted}));
  return evaluation::AddPrivate(std::move(arm), comparison);
}

Status Evaluate(const Options& options, const std::atomic<bool>& interrupted) {
  CHORALE_ASSIGN_OR_RETURN(Inputs inputs, ReadInputs(options));
  CHORALE_ASSIGN_OR_RETURN(
      const std::unique_ptr<training::LocalTrainer> trainer,
      training::MakeTorchTrainer({.device = options.device, .threads = options.threads}));
  const std::vector<evaluation::Site> sites = SitesOf(inputs.names, inputs.datasets);
  std::optional<std::uint32_t> published_rounds;
  std::span<const data::Moments> noisy_moments;
  if (inputs.run) {
    published_rounds = inputs.run->num_published;
    noisy_moments = inputs.run->noisy_moments;
  }
  CHORALE_ASSIGN_OR_RETURN(
      evaluation::Comparison comparison,
      evaluation::CompareArms(
          {.job = inputs.job,
           .sites = sites,
           .federated_parameters = inputs.federated.parameters,
           .trainer = *trainer,
           .published_rounds = published_rounds,
           .initial_parameters = inputs.initial,
           .noisy_moments = noisy_moments,
           .on_arm = [](std::string_view arm) { std::cerr << "evaluating: " << arm << "\n"; },
           .cancelled = &interrupted}));
  CHORALE_RETURN_IF_ERROR(AddPrivateArm(inputs, *trainer, interrupted, comparison));
  std::optional<evaluation::RunRecord> private_run;
  if (inputs.private_inputs) private_run = std::move(inputs.private_inputs->run);
  const evaluation::ReportContent content{.job = std::move(inputs.job),
                                          .num_parameters = inputs.federated.parameters.size(),
                                          .model_digest = ToHex(inputs.federated.blob.digest),
                                          .device = trainer->device(),
                                          .comparison = std::move(comparison),
                                          .run = std::move(inputs.run),
                                          .private_run = std::move(private_run)};
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

}  // namespace
}  // namespace chorale::cli

int main(int argc, char** argv) {
  chorale::cli::Options options;
  return chorale::cli::RunTorchProgram(
      {.name = "chorale-evaluate",
       .description = chorale::cli::kDescription,
       .footer = chorale::cli::kFooter,
       .declare = [&options](CLI::App& app) { chorale::cli::DeclareOptions(app, options); },
       .run =
           [&options](const std::atomic<bool>& interrupted) {
             return chorale::cli::Evaluate(options, interrupted);
           }},
      argc, argv);
}
