#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "audit/canary_run.h"
#include "cli/torch_program.h"
#include "core/bytes.h"
#include "core/storage/file.h"
#include "core/version.h"
#include "jobs/job_spec.h"
#include "jobs/privacy_spec.h"
#include "training/torch_trainer.h"

namespace chorale::cli {
namespace {

constexpr char kDescription[] =
    "Runs the steps of a private job with made-up patients through the code that agents run, and "
    "tests that\nthe noise and the draws of patients are what the guarantee says. Reads no "
    "patient's data.";
constexpr char kFooter[] =
    "Exit codes: 0 every test passed, 1 one did not, 2 usage, 3 invalid input, 130 interrupted.";

struct Options {
  std::string job;
  std::uint64_t canaries = 10'000;
  std::uint32_t sites = 3;
  std::uint64_t rounds = 0;
  double significance = 1e-3;
  std::string out;
  std::string format = "text";
  std::string device = "cpu";
  int threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 1024u));
};

void DeclareOptions(CLI::App& app, Options& options) {
  app.add_option("job", options.job, "The job.yaml")->required();
  app.add_option("--canaries", options.canaries, "Made-up patients, half of them in the data")
      ->check(CLI::Range(64, 1 << 20))
      ->capture_default_str();
  app.add_option("--sites", options.sites, "Sites of the consortium")
      ->check(CLI::Range(3, 1000))
      ->capture_default_str();
  app.add_option("--rounds", options.rounds,
                 "Rounds to run (default: all that the job may use, spare ones included)");
  app.add_option("--significance", options.significance,
                 "The chance with which correct code may fail")
      ->check(CLI::Range(1e-12, 0.5))
      ->capture_default_str();
  app.add_option("--out", options.out, "File for the evidence, as JSON");
  app.add_option("--format", options.format, "What to print: text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--device", options.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--threads", options.threads, "CPU threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
}

std::string ToJson(const audit::Evidence& evidence, const v1::JobSpec& spec,
                   const Options& options) {
  nlohmann::ordered_json tests = nlohmann::ordered_json::array();
  for (const privacy::AuditTest& test : evidence.tests) {
    tests.push_back({{"name", test.name},
                     {"measured", test.measured},
                     {"expected", test.expected},
                     {"p_value", test.p_value},
                     {"passed", audit::HasPassed(test, evidence, options.significance)}});
  }
  const privacy::EpsilonBound& bound = evidence.lower_bound;
  const nlohmann::ordered_json json = {
      {"version", Version()},
      {"job", spec.name()},
      {"claimed",
       {{"epsilon", evidence.claimed.guarantee.epsilon},
        {"delta", evidence.claimed.guarantee.delta},
        {"statement", privacy::ToText(evidence.claimed)}}},
      {"lower_bound",
       {{"epsilon", bound.epsilon},
        {"delta", evidence.compared.guarantee.delta},
        {"claimed_epsilon", evidence.compared.guarantee.epsilon},
        {"confidence", 1 - options.significance},
        {"guesses", bound.guesses.num_guesses},
        {"right", bound.guesses.num_right}}},
      {"significance", options.significance},
      {"tests", tests},
      {"canaries", options.canaries},
      {"steps", evidence.num_steps},
      {"honest_sites", evidence.honest_sites},
      {"sample_rate", spec.privacy().sample_rate()},
      {"noise_multiplier", spec.privacy().noise_multiplier()},
      {"max_grad_norm", spec.privacy().max_grad_norm()},
      {"passed", audit::HasPassed(evidence, options.significance)}};
  return json.dump(2) + "\n";
}

std::string ToText(const audit::Evidence& evidence, const Options& options) {
  std::ostringstream out;
  const privacy::EpsilonBound& bound = evidence.lower_bound;
  out << "claimed      " << privacy::ToText(evidence.claimed) << '\n'
      << "lower bound  epsilon " << bound.epsilon << " with confidence " << 1 - options.significance
      << ": " << bound.guesses.num_right << " of " << bound.guesses.num_guesses << " guesses about "
      << options.canaries << " canaries were right\n\n"
      << std::left << std::setw(24) << "test" << std::setw(14) << "measured" << std::setw(14)
      << "expected" << std::setw(14) << "p-value"
      << "result\n";
  for (const privacy::AuditTest& test : evidence.tests) {
    out << std::setw(24) << test.name << std::setw(14) << test.measured << std::setw(14)
        << test.expected << std::setw(14) << test.p_value
        << (audit::HasPassed(test, evidence, options.significance) ? "passed" : "FAILED") << '\n';
  }
  return out.str();
}

Status Audit(const Options& options, const std::atomic<bool>& interrupted) {
  CHORALE_ASSIGN_OR_RETURN(v1::JobSpec spec, jobs::LoadJobFile(options.job));
  if (!jobs::IsPrivate(spec)) {
    return InvalidArgument(options.job +
                           ": the job has no privacy section, so there is nothing to test");
  }
  CHORALE_RETURN_IF_ERROR(jobs::CalibrateNoise(spec));
  CHORALE_ASSIGN_OR_RETURN(
      const std::unique_ptr<training::LocalTrainer> trainer,
      training::MakeTorchTrainer({.device = options.device, .threads = options.threads}));
  CHORALE_ASSIGN_OR_RETURN(
      const audit::Evidence evidence,
      audit::RunCanaries(
          {.spec = spec,
           .num_canaries = options.canaries,
           .num_sites = options.sites,
           .num_rounds = options.rounds == 0 ? jobs::MaxRounds(spec) : options.rounds,
           .trainer = *trainer,
           .num_threads = options.threads,
           .significance = options.significance,
           .cancelled = interrupted}));
  const std::string json = ToJson(evidence, spec, options);
  if (!options.out.empty()) {
    CHORALE_RETURN_IF_ERROR(
        storage::WriteFileAtomically(options.out, AsBytes(json), storage::FileMode::kPublic));
  }
  std::cout << (options.format == "json" ? json : ToText(evidence, options)) << std::flush;
  if (!std::cout) return Unavailable("standard output cannot be written");
  if (audit::HasPassed(evidence, options.significance)) return OkStatus();
  return Internal(
      "the noise or the draws are not what the guarantee says, or chance was against it: repeat, "
      "and report it if a test fails again");
}

}  // namespace
}  // namespace chorale::cli

int main(int argc, char** argv) {
  chorale::cli::Options options;
  return chorale::cli::RunTorchProgram(
      {.name = "chorale-privacy-audit",
       .description = chorale::cli::kDescription,
       .footer = chorale::cli::kFooter,
       .declare = [&options](CLI::App& app) { chorale::cli::DeclareOptions(app, options); },
       .run =
           [&options](const std::atomic<bool>& interrupted) {
             return chorale::cli::Audit(options, interrupted);
           }},
      argc, argv);
}
