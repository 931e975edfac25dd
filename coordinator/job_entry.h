#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "chorale/v1/storage.pb.h"
#include "coordinator/job.h"
#include "coordinator/store.h"
#include "coordinator/task_table.h"
#include "core/crypto/digest.h"
#include "core/parameters.h"
#include "core/status.h"

namespace chorale::coordinator {

// Somebody who wants to know when a job changes.
class JobWatcher {
 public:
  virtual ~JobWatcher() = default;
  // Called from the engine's thread after each change; must not block.
  virtual void Wake() = 0;
  // The coordinator stops, or cannot tell: nothing more will come.
  virtual void Close(const Status& why) = 0;
};

// A job with everything that its rounds need. Belongs to the engine's thread.
struct JobEntry {
  StoredSubmission submission;
  v1::JobSpec spec;
  ParameterLayout layout;
  crypto::Digest graph_digest;  // Of the model.
  Job machine;
  bool is_active = false;                                  // Has one of the places of running jobs.
  bool has_work = false;                                   // The worker is at it.
  std::string wait_reason;                                 // While Queued or Selecting.
  std::vector<std::shared_ptr<JobWatcher>> watchers = {};  // Shared with the calls that serve them.
};

// INVALID_ARGUMENT or DATA_LOSS: a specification that Submit would not have taken, or events that
// do not fit.
[[nodiscard]] StatusOr<JobEntry> MakeEntry(StoredSubmission submission,
                                           const std::vector<v1::JobEvent>& events);

// Of the global model.
[[nodiscard]] std::uint64_t ModelBytes(const JobEntry& entry);

// The job as people see it; a reason whenever it waits, failed or was cancelled.
[[nodiscard]] v1::JobSummary SummaryOf(const JobEntry& entry);

// "update/<round>/<attempt>/": where a round's payloads stand among the job's blobs.
[[nodiscard]] std::string UpdatePrefix(RoundKey round);
// "model/<round>/": where the model that a round published stands ("global"), and what it left for
// the next round ("state"); 0 is the initial one.
[[nodiscard]] std::string ModelPrefix(std::uint32_t round);
// Published models that a job keeps: the present one and the one before.
inline constexpr std::uint32_t kModelsKept = 2;
// Where weights that the researcher uploaded stand until the job has started.
inline constexpr char kUploadedName[] = "uploaded";

// What the site is told to do. REQUIRES: entry is in a round.
[[nodiscard]] v1::Task MakeTask(const JobEntry& entry, const Dispatch& dispatch);
// What the site may do. REQUIRES: entry is in a round.
[[nodiscard]] OpenTask MakeOpenTask(const JobEntry& entry, const SiteId& site);

}  // namespace chorale::coordinator
