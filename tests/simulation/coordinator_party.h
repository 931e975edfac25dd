#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/engine.h"
#include "core/ids.h"
#include "core/status.h"
#include "identity/identity.h"
#include "site_agent/outlet.h"
#include "tests/simulation/network.h"
#include "tests/simulation/parties.h"
#include "tests/simulation/witness.h"
#include "tests/simulation/world.h"

namespace chorale::simulation {

// What the simulation's coordinator takes its time for.
struct CoordinatorPace {
  Duration longest_work = std::chrono::milliseconds(200);
};

// The coordinator's machine and the process on it: a real engine with a real store on a simulated
// disk. What the program does with threads and gRPC, one thread does here: commands wait in a
// mailbox and are committed together, work waits in a queue.
class CoordinatorParty final : public CoordinatorEnd {
 public:
  CoordinatorParty(World& world, Network& network, Witness& witness, Parties& parties,
                   const std::filesystem::path& directory);
  ~CoordinatorParty() override;

  // Starts the process; again and again until it stands.
  void Start();
  // The process ends here and now. `power_was_cut`: so does the machine, and nobody is told.
  void Crash(bool power_was_cut);
  // Ends in an orderly way.
  void Stop();
  Machine& machine() { return machine_; }
  // Of processes that start from here on.
  void SetRoundsOfSession(std::uint32_t rounds) { rounds_of_session_ = rounds; }

  // ---- calls; UNAVAILABLE: it died meanwhile
  Status Report(const std::string& site, const v1::ReportHeader& header, ByteSpan payload);
  // Whether a fetch for the task would be told to try again. REQUIRES: IsUp().
  [[nodiscard]] bool SaysTryAgain(const std::string& site, const std::string& task_id) const;
  Status Fetch(const std::string& site, const TaskId& task, const crypto::BlobId& blob,
               std::uint64_t offset_bytes, const std::function<Status(const v1::Chunk&)>& accept);
  StatusOr<JobId> Submit(const coordinator::Submission& submission);
  Status Cancel(const JobId& job);
  // Empty: no process, or no such job.
  std::optional<v1::ShowJobResponse> Show(const JobId& job);

  // ---- CoordinatorEnd
  [[nodiscard]] bool IsUp() const override { return process_ != nullptr; }
  void StreamOpened(StreamId id, const std::string& site) override;
  void StreamReceived(StreamId id, const std::string& bytes) override;
  void StreamClosed(StreamId id) override;

 private:
  class Channel;
  class WatchedStore;
  class Queue;
  struct Process;
  using Command = std::function<void(coordinator::Engine&)>;

  Status TryStart();
  void Post(Command command);
  // One turn of the driver: what waits, what is due, one transaction. False: the process died.
  bool Turn();
  void PlanTimer();
  void DoWork();

  World& world_;
  Network& network_;
  Witness& witness_;
  Parties& parties_;
  Machine machine_;
  CoordinatorPace pace_;
  std::uint32_t rounds_of_session_ = 1;
  std::unique_ptr<Process> process_;
};

}  // namespace chorale::simulation
