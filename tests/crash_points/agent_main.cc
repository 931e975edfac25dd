// chorale-site-agent with crash points: --config FILE, as the program that is shipped.
#include <filesystem>
#include <memory>
#include <utility>

#include "core/log.h"
#include "core/rpc/tls.h"
#include "core/shutdown.h"
#include "site_agent/agent.h"
#include "site_agent/config.h"
#include "tests/crash_points/main.h"
#include "tests/crash_points/stopping_agent.h"
#include "training/torch_trainer.h"

namespace chorale::crash_points {
namespace {

Status Run(const std::filesystem::path& config_path) {
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<ShutdownSignal> shutdown,
                           ShutdownSignal::Create());
  CHORALE_ASSIGN_OR_RETURN(v1::SiteConfig config, site_agent::LoadSiteConfig(config_path));
  CHORALE_RETURN_IF_ERROR(ConfigureLog(config.log()));
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<CrashPoints> points,
                           OpenPoints(config.state_directory()));
  CHORALE_ASSIGN_OR_RETURN(
      identity::Identity identity,
      identity::Identity::Load(config.identity_directory(), SystemClock().WallNow()));
  rpc::InitializeRpc();
  CHORALE_ASSIGN_OR_RETURN(
      std::unique_ptr<training::LocalTrainer> trainer,
      training::MakeTorchTrainer(
          {.device = config.device(), .threads = static_cast<int>(config.threads())}));
  CHORALE_ASSIGN_OR_RETURN(site_agent::AgentStores stores, site_agent::AgentStores::Open(config));
  stores.journal = std::make_unique<StoppingJournal>(std::move(stores.journal), *points);
  stores.ledger = std::make_unique<StoppingLedger>(std::move(stores.ledger), *points);
  CHORALE_ASSIGN_OR_RETURN(
      const std::unique_ptr<site_agent::Agent> agent,
      site_agent::Agent::Create(
          {.config = std::move(config),
           .config_directory = std::filesystem::absolute(config_path).parent_path(),
           .identity = std::move(identity),
           .trainer = std::make_unique<StoppingTrainer>(std::move(trainer), *points)},
          std::move(stores)));
  agent->Start();
  shutdown->Wait();
  agent->Drain();
  agent->Wait();
  return OkStatus();
}

}  // namespace
}  // namespace chorale::crash_points

int main(int argc, char** argv) {
  return chorale::crash_points::Main(argc, argv, chorale::crash_points::Run);
}
