#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "chorale/v1/storage.pb.h"
#include "coordinator/exchange.h"
#include "coordinator/job.h"
#include "coordinator/payload_store.h"
#include "coordinator/store.h"
#include "coordinator/task_table.h"
#include "core/crypto/digest.h"
#include "core/parameters.h"
#include "core/status.h"
#include "jobs/masking.h"

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

// What the sites of a step of secure aggregation are told, beside the task itself.
struct StepMessages {
  std::map<SiteId, crypto::BlobId> blobs = {};
  std::vector<HeldPayload> held = {};  // The blobs.
  std::string round_start = {};        // Of the report step: a SignedMessage of RoundStart.
  std::string certificate = {};        // Of the first step: the coordinator's, PEM.
};

// A job with everything that its rounds need. Belongs to the engine's thread.
struct JobEntry {
  StoredSubmission submission;
  v1::JobSpec spec;
  ParameterLayout layout;
  crypto::Digest graph_digest;  // Of the model.
  Job machine;
  bool is_active = false;   // Has one of the places of running jobs.
  bool has_work = false;    // The worker is at it.
  std::string wait_reason;  // While Queued or Selecting.
  // Sites that were sent a task since the coordinator began, also in a round without a record yet.
  std::set<SiteId> asked = {};
  // The session of secure aggregation, if there is one: the worker's while has_work.
  std::shared_ptr<Exchange> exchange = {};
  std::shared_ptr<const StepMessages> messages = {};  // Of the present step.
  std::set<SiteId> without_secrets = {};  // Members that do not have the session any more.
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

// "update/<round>/<attempt>/": where a round's payloads stand among the job's blobs, those of all
// its steps.
[[nodiscard]] std::string UpdatePrefix(RoundKey round);
// Steps in which keys are exchanged.
[[nodiscard]] bool BeginsSession(RoundStep step);
// "session/<round>/<attempt>/": the same of what a session of secure aggregation is made of, which
// is needed as long as the session is: its manifest, and the payloads of the steps that it begins
// with.
[[nodiscard]] std::string SessionPrefix(RoundKey round);
// Where one site's payload of one step stands below the one or the other.
[[nodiscard]] std::string UpdateName(RoundKey round, const SiteId& site);
// What the reports of a phase hold.
[[nodiscard]] jobs::MaskedKind MaskedKindOf(Phase phase);
// How the present phase's reports are summed, for a session of so many members. REQUIRES: a phase.
[[nodiscard]] StatusOr<jobs::MaskedLayout> MaskedLayoutOf(const JobEntry& entry,
                                                          std::uint32_t num_members);
// Of a masked round, from the report on: what its last step may take at most.
[[nodiscard]] Duration MaskedRoundTime(const JobEntry& entry);
// Of the present phase's rounds: model, task, encoding and size; sites and deadline are the
// caller's. REQUIRES: a phase.
[[nodiscard]] RoundOpening OpeningOf(const JobEntry& entry, RoundNumber round,
                                     const jobs::MaskedLayout& layout);
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
