// chorale-coordinator with crash points: --config FILE, as the program that is shipped.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>

#include "coordinator/config.h"
#include "coordinator/coordinator.h"
#include "coordinator/sqlite_store.h"
#include "core/log.h"
#include "core/rpc/tls.h"
#include "core/shutdown.h"
#include "tests/crash_points/main.h"
#include "tests/crash_points/stopping_store.h"

namespace chorale::crash_points {
namespace {

Status Run(const std::filesystem::path& config_path) {
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<ShutdownSignal> shutdown,
                           ShutdownSignal::Create());
  CHORALE_ASSIGN_OR_RETURN(const v1::CoordinatorConfig config,
                           coordinator::LoadConfig(config_path));
  CHORALE_RETURN_IF_ERROR(ConfigureLog(config.log()));
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<CrashPoints> points,
                           OpenPoints(config.state_directory()));
  rpc::InitializeRpc();
  const SystemClock clock;
  metrics::Registry registry;
  std::atomic<bool> is_lost = false;
  const auto open_store =
      [&](const std::filesystem::path& state) -> StatusOr<std::unique_ptr<coordinator::JobStore>> {
    CHORALE_ASSIGN_OR_RETURN(std::unique_ptr<coordinator::JobStore> store,
                             coordinator::SqliteJobStore::Open(state / "coordinator.db"));
    return std::make_unique<StoppingStore>(std::move(store), *points);
  };
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<coordinator::Coordinator> started,
                           coordinator::Coordinator::Start(config, {.clock = clock,
                                                                    .metrics = registry,
                                                                    .on_fatal =
                                                                        [&is_lost](const Status&) {
                                                                          is_lost = true;
                                                                          ::kill(::getpid(),
                                                                                 SIGTERM);
                                                                        },
                                                                    .open_store = open_store}));
  shutdown->Wait();
  started->Stop();
  return is_lost ? Internal("the store was lost") : OkStatus();
}

}  // namespace
}  // namespace chorale::crash_points

int main(int argc, char** argv) {
  return chorale::crash_points::Main(argc, argv, chorale::crash_points::Run);
}
