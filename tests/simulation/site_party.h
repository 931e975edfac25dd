#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "site_agent/link.h"
#include "site_agent/outlet.h"
#include "tests/simulation/coordinator_party.h"
#include "tests/simulation/network.h"
#include "tests/simulation/parties.h"
#include "tests/simulation/witness.h"
#include "tests/simulation/world.h"

namespace chorale::simulation {

// How long a site takes for things.
struct SitePace {
  Duration longest_training = std::chrono::seconds(5);
  Duration longest_step = std::chrono::milliseconds(50);
};

// A site's machine and the agent on it: everything that chorale-site-agent puts together, but gRPC
// and LibTorch, driven by one thread. Work is atomic in simulated time: it begins when its model
// can be fetched.
class SiteParty final : public SiteEnd,
                        public site_agent::Link,
                        public site_agent::Outlet,
                        public site_agent::BlobSource {
 public:
  SiteParty(World& world, Network& network, Witness& witness, Parties& parties,
            CoordinatorParty& coordinator, const std::string& name,
            const std::filesystem::path& directory, v1::SiteConfig config);
  ~SiteParty() override;

  void Start();
  void Crash(bool power_was_cut);
  // Asks the agent to stop; it starts again later.
  void Stop();
  Machine& machine() { return machine_; }
  [[nodiscard]] bool IsUp() const { return process_ != nullptr; }
  // Reports that wait for the coordinator's last word.
  [[nodiscard]] bool HasUnsettledReports() const;

  // ---- SiteEnd
  void StreamOpened(StreamId id) override;
  void StreamReceived(StreamId id, const std::string& bytes) override;
  void StreamClosed(StreamId id, const Status& why) override;

  // ---- what the agent uses
  void Dial(site_agent::LinkObserver& observer) override;
  void HangUp() override;
  Status Send(site_agent::Released<v1::SiteMessage> message) override;
  Status Report(site_agent::Released<site_agent::OutgoingReport> report) override;
  Status Fetch(const TaskId& task, const crypto::BlobId& blob, std::uint64_t offset_bytes,
               const std::function<Status(const v1::Chunk&)>& accept,
               site_agent::Cancellation& cancellation) override;

 private:
  struct Process;

  Status TryStart();
  // Lets the agent do what is due, then plans what it waits for.
  void Run();
  void PlanWork();
  void DoWork();
  void PlanReport();
  // True, and the process is gone, when its disk killed it.
  bool HasDied();
  [[nodiscard]] bool CanReachCoordinator() const;

  World& world_;
  Network& network_;
  Witness& witness_;
  Parties& parties_;
  CoordinatorParty& coordinator_;
  const std::string name_;
  Machine machine_;
  v1::SiteConfig config_;
  SitePace pace_;
  std::unique_ptr<Process> process_;
};

}  // namespace chorale::simulation
