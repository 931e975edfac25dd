#pragma once

#include <filesystem>
#include <memory>

#include "chorale/v1/config.pb.h"
#include "core/status.h"
#include "core/storage/file.h"
#include "core/storage/state_mark.h"
#include "core/time.h"
#include "identity/identity.h"
#include "privacy/ledger/ledger.h"
#include "site_agent/journal.h"
#include "site_agent/promises.h"
#include "training/local_trainer.h"

// One site agent, put together. Several may live in one process, each with a state directory of its
// own.
namespace chorale::site_agent {

struct AgentParts {
  v1::SiteConfig config;                   // As LoadSiteConfig returns it.
  std::filesystem::path config_directory;  // Where relative dataset paths start.
  identity::Identity identity;             // A site's.
  // None, in builds without LibTorch: training tasks are refused with TRAINER_UNAVAILABLE.
  std::unique_ptr<training::LocalTrainer> trainer;
  Duration keepalive_interval = std::chrono::seconds(20);
};

// What the agent keeps on disk, and that nobody else uses meanwhile.
struct AgentStores {
  storage::DirectoryLock lock;
  storage::StateMark mark;
  std::unique_ptr<const Clock> clock;  // The agent's, and the ledger's.
  std::unique_ptr<Journal> journal;
  Promises promises;
  std::unique_ptr<privacy::Ledger> ledger;

  // FAILED_PRECONDITION: the state directory is in use, or open to other users. Else the errors of
  // the journal, the promises and the ledger.
  [[nodiscard]] static StatusOr<AgentStores> Open(const v1::SiteConfig& config);
};

// Call rpc::InitializeRpc() once before the first. Safe for concurrent use.
class Agent {
 public:
  // PERMISSION_DENIED: the identity is not a site's. UNAVAILABLE: the page of metrics cannot be
  // served. Else the journal's errors.
  [[nodiscard]] static StatusOr<std::unique_ptr<Agent>> Create(AgentParts parts,
                                                               AgentStores stores);
  // The same with the stores of its configuration, and their errors.
  [[nodiscard]] static StatusOr<std::unique_ptr<Agent>> Create(AgentParts parts);
  // Drains and waits.
  ~Agent();

  // Dials, and keeps dialling. Once.
  void Start();
  // Finishes sending the reports under way, tells the coordinator about the tasks that it gives up,
  // and ends. Returns at once.
  void Drain();
  // Returns when the agent has ended. By one thread.
  void Wait();

 private:
  struct State;
  explicit Agent(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace chorale::site_agent
