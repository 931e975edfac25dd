#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>

#include "coordinator/config.h"
#include "coordinator/coordinator.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/rpc/tls.h"
#include "core/shutdown.h"
#include "core/time.h"
#include "core/version.h"

namespace chorale {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

int Fail(const Status& why, int exit_code) {
  std::fprintf(stderr, "chorale-coordinator: %s\n", MessageOf(why).c_str());
  return exit_code;
}

Status ConfigureLog(const v1::LogConfig& config) {
  CHORALE_ASSIGN_OR_RETURN(const log::Options options,
                           log::ParseOptions(config.level(), config.format(), config.file()));
  return log::Configure(options);
}

int Run(const std::string& config_path) {
  const StatusOr<std::unique_ptr<ShutdownSignal>> shutdown = ShutdownSignal::Create();
  if (!shutdown.ok()) return Fail(shutdown.status(), kExitFailure);
  const StatusOr<v1::CoordinatorConfig> config = coordinator::LoadConfig(config_path);
  if (!config.ok()) return Fail(config.status(), kExitUsage);
  if (const Status logging = ConfigureLog(config->log()); !logging.ok()) {
    return Fail(logging, kExitFailure);
  }
  rpc::InitializeRpc();
  const SystemClock clock;
  metrics::Registry registry;
  if (!config->metrics_listen().empty()) {
    if (const Status serving = registry.Serve(config->metrics_listen()); !serving.ok()) {
      return Fail(serving, kExitFailure);
    }
  }
  std::atomic<bool> is_lost = false;
  const StatusOr<std::unique_ptr<coordinator::Coordinator>> started =
      coordinator::Coordinator::Start(
          *config, {.clock = clock, .metrics = registry, .on_fatal = [&is_lost](const Status&) {
                      is_lost = true;
                      kill(getpid(), SIGTERM);
                    }});
  if (!started.ok()) return Fail(started.status(), kExitFailure);
  (*shutdown)->Wait();
  (*started)->Stop();
  return is_lost ? kExitFailure : 0;
}

}  // namespace
}  // namespace chorale

int main(int argc, char** argv) {
  CLI::App app("The coordinator of a federation: dispatches rounds and sums what sites report.");
  app.name("chorale-coordinator");
  std::string config_path;
  app.add_option("--config", config_path, "The configuration, coordinator.yaml")->required();
  app.set_version_flag("--version", "chorale-coordinator " + chorale::Version());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : chorale::kExitUsage;
  }
  return chorale::Run(config_path);
}
