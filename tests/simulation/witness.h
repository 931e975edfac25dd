#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "coordinator/engine.h"
#include "coordinator/store.h"
#include "core/bytes.h"
#include "core/ids.h"
#include "core/parameters.h"
#include "core/status.h"
#include "tests/simulation/parties.h"
#include "tests/simulation/round_witness.h"
#include "tests/simulation/world.h"

namespace chorale::simulation {

// Sees what becomes durable, what leaves a site and what anybody is told, and holds it against what
// must always be so (README.md). It keeps its own account of every job and asks no product code
// what a job's state is.
class Witness {
 public:
  Witness(World& world, const Parties& parties) : world_(world), parties_(parties) {}

  // ---- the coordinator
  // This batch is durable.
  void Stored(const coordinator::Batch& batch);
  // A process has read back what there is: all that was durable, and perhaps what its predecessor
  // did not live to tell.
  void Recovered(coordinator::JobStore& store, coordinator::Engine& engine);
  // The researcher was told that the job is accepted.
  void Accepted(const JobId& job);

  // ---- sites
  void Started(const std::string& site, Machine& machine);
  void TaskBegins(const std::string& site, const v1::Task& task) { tasks_[site] = task.task_id(); }
  void TaskEnds(const std::string& site) { tasks_.erase(site); }
  // Rows are about to be used for the site's task.
  void ComputationBegins(const std::string& site, Machine& machine);
  void Leaves(const std::string& site, const v1::SiteMessage& message);
  void Leaves(const std::string& site, const v1::ReportHeader& header, const Bytes& payload,
              Machine& machine);
  // The coordinator answered a report.
  void Answered(const std::string& site, const std::string& task, const Status& answer);

  // ---- the end
  [[nodiscard]] std::vector<JobId> Jobs() const;
  [[nodiscard]] std::uint64_t num_published() const { return num_published_; }
  [[nodiscard]] std::uint64_t num_masked_reports() const { return num_masked_reports_; }
  [[nodiscard]] std::uint64_t num_charges() const { return num_charges_; }

 private:
  struct JobAccount {
    v1::JobSpec spec;
    std::string signed_spec;          // As the researcher signed it.
    std::vector<std::string> events;  // As stored.
    RoundWitness rounds;
  };
  // The parts of a task id.
  struct TaskName {
    std::string job;
    std::uint32_t round = 0;
    bool is_step = false;  // Of secure aggregation, and no report.
    std::string step;
  };
  [[nodiscard]] static std::optional<TaskName> Parse(const std::string& task);
  // The job of a task; null: none.
  [[nodiscard]] JobAccount* JobOf(const std::string& task);

  void AddJob(const coordinator::StoredSubmission& submission);
  void Add(const JobId& id, const v1::JobEvent& event);
  void CheckPlain(const std::string& site, const JobAccount& job, const TaskName& task,
                  const v1::ReportHeader& header, const Bytes& payload);
  void CheckMasked(const std::string& site, const JobAccount& job, const TaskName& task,
                   const v1::ReportHeader& header, const Bytes& payload);
  // The ledger, as a power cut would leave it, has been charged for the task, and for all others
  // that it ever was.
  void CheckCharged(const std::string& site, const std::string& task, Machine& machine,
                    std::string_view when);
  void CheckLedger(const std::string& site, Machine& machine, std::string_view when);
  // A power cut would leave what the message relies on: the nonce, the sum.
  void CheckPromised(const std::string& site, const JobAccount& job, const TaskName& name,
                     Machine& machine);

  World& world_;
  const Parties& parties_;
  std::map<JobId, JobAccount> jobs_;
  std::map<crypto::Digest, Bytes> blobs_;         // Small payloads that were kept once.
  std::set<std::string> reported_;                // Tasks whose report is durable.
  std::map<std::string, std::string> tasks_;      // In hand, by site.
  std::map<std::string, std::string> frames_;     // What left, by task: every copy is the same.
  std::map<std::string, std::set<Bytes>> masks_;  // Beginnings of masks that a site used.
  std::map<std::string, std::set<std::string>> charged_;   // Tasks, by site.
  std::map<std::string, std::set<std::string>> computed_;  // Private tasks, by site.
  std::map<std::string, std::size_t> sessions_begun_;      // By site.
  // Rounds that a site helped to unmask, by site and job.
  std::map<std::pair<std::string, std::string>, std::set<std::uint32_t>> unmasked_;
  std::uint64_t num_published_ = 0;
  std::uint64_t num_masked_reports_ = 0;
  std::uint64_t num_charges_ = 0;
};

}  // namespace chorale::simulation
