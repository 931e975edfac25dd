// chorale-site-agent: runs beside a hospital's data, dials out to the coordinator, and takes the
// tasks that site.yaml allows.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "core/log.h"
#include "core/rpc/tls.h"
#include "core/shutdown.h"
#include "core/status.h"
#include "core/time.h"
#include "core/version.h"
#include "identity/identity.h"
#include "site_agent/agent.h"
#include "site_agent/config.h"
#ifdef CHORALE_WITH_TORCH
#include "training/torch_trainer.h"
#endif

namespace chorale::site_agent {
namespace {

#ifdef CHORALE_WITH_TORCH
StatusOr<std::unique_ptr<training::LocalTrainer>> MakeTrainer(const v1::SiteConfig& config) {
  return training::MakeTorchTrainer(
      {.device = config.device(), .threads = static_cast<int>(config.threads())});
}

// Idle OpenMP threads that spin take the cores from the other pool of threads that training uses.
// OpenMP reads its setting when it is loaded, before main: the program starts itself again with it.
void RestartWithPassiveWaiting(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("OMP_WAIT_POLICY", "passive", 0);
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) ::execv(program.c_str(), argv);
  // Not started again: slower, not wrong.
}
#else
StatusOr<std::unique_ptr<training::LocalTrainer>> MakeTrainer(const v1::SiteConfig&) {
  return std::unique_ptr<training::LocalTrainer>();
}
#endif

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;  // The command line or site.yaml.

int Fail(const Status& status, int exit_code) {
  std::cerr << "chorale-site-agent: " << MessageOf(status) << std::endl;
  return exit_code;
}

Status ConfigureLog(const v1::LogConfig& config) {
  CHORALE_ASSIGN_OR_RETURN(const log::Options options,
                           log::ParseOptions(config.level(), config.format(), config.file()));
  return log::Configure(options);
}

Status RunAgent(v1::SiteConfig config, const std::filesystem::path& config_path,
                ShutdownSignal& shutdown) {
  CHORALE_RETURN_IF_ERROR(ConfigureLog(config.log()));
  CHORALE_ASSIGN_OR_RETURN(
      identity::Identity identity,
      identity::Identity::Load(config.identity_directory(), SystemClock().WallNow()));
  rpc::InitializeRpc();
  CHORALE_ASSIGN_OR_RETURN(std::unique_ptr<training::LocalTrainer> trainer, MakeTrainer(config));
  std::error_code error;
  CHORALE_ASSIGN_OR_RETURN(
      const std::unique_ptr<Agent> agent,
      Agent::Create(
          {.config = std::move(config),
           .config_directory = std::filesystem::absolute(config_path, error).parent_path(),
           .identity = std::move(identity),
           .trainer = std::move(trainer)}));
  agent->Start();
  shutdown.Wait();
  agent->Drain();
  agent->Wait();
  return OkStatus();
}

int Run(const std::string& config_path) {
  const StatusOr<std::unique_ptr<ShutdownSignal>> shutdown = ShutdownSignal::Create();
  if (!shutdown.ok()) return Fail(shutdown.status(), kExitFailure);
  StatusOr<v1::SiteConfig> config = LoadSiteConfig(config_path);
  if (!config.ok()) return Fail(config.status(), kExitUsage);
  const Status status = RunAgent(*std::move(config), config_path, **shutdown);
  return status.ok() ? 0 : Fail(status, kExitFailure);
}

}  // namespace
}  // namespace chorale::site_agent

int main(int argc, char** argv) {
#ifdef CHORALE_WITH_TORCH
  chorale::site_agent::RestartWithPassiveWaiting(argv);
#endif
  CLI::App app(
      "Runs a site of a Chorale federation: trains where the data are, as site.yaml allows.");
  app.name("chorale-site-agent");
  app.set_version_flag("--version", "chorale-site-agent " + chorale::Version());
  std::string config;
  app.add_option("--config", config, "The site's configuration, site.yaml")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : chorale::site_agent::kExitUsage;
  }
  return chorale::site_agent::Run(config);
}
