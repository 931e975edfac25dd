#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "chorale/v1/storage.pb.h"
#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"

namespace chorale::coordinator {

// A job as it was submitted.
struct StoredSubmission {
  JobId id;
  ResearcherId researcher;
  std::string idempotency_key;  // Unique among the researcher's.
  v1::SignedJob envelope;
  Time submitted_at;
};

struct StoredJob {
  StoredSubmission submission;
  std::vector<v1::JobEvent> events;  // In order.
};

// The newest row of a site's privacy ledger that it ever told: coordinators keep it so that a site
// learns when its ledger was put back to before it.
struct LedgerReceipt {
  std::uint64_t seq = 0;
  crypto::Digest digest{};
  friend bool operator==(const LedgerReceipt&, const LedgerReceipt&) = default;
};

struct StoredSite {
  Time last_seen;
  std::string agent_version;
  std::vector<std::string> datasets;
  // Of the agent that was accepted last: agent_lease.h. Empty: it did not tell.
  std::string lineage = {};
  std::uint64_t epoch = 0;
  std::string instance = {};
  std::optional<LedgerReceipt> receipt = {};
  std::optional<Duration> clock_skew = {};  // Its clock minus ours, when it last connected.
};

// What one transaction writes. Order within: submissions, events, blobs kept, blobs dropped, the
// rest.
struct Batch {
  struct Event {
    JobId job;
    v1::JobEvent event;
  };
  struct Blob {
    JobId job;
    std::string name;  // Unique in the job: "model/3", "update/3/1/north".
    crypto::BlobId id;
    std::shared_ptr<const Bytes>
        bytes;  // Of a small payload; null for a file. Shared with the payload store.
  };
  struct DroppedBlobs {
    JobId job;
    std::string name_prefix;
  };
  struct EndedJob {
    JobId id;
    v1::JobSummary summary;
  };

  std::vector<StoredSubmission> submissions;
  std::vector<Event> events;
  std::vector<Blob> kept;
  std::vector<DroppedBlobs> dropped;
  std::vector<EndedJob> ended;
  std::map<SiteId, StoredSite> sites;
  std::optional<std::uint64_t> roster_version;

  [[nodiscard]] bool empty() const {
    return submissions.empty() && events.empty() && kept.empty() && dropped.empty() &&
           ended.empty() && sites.empty() && !roster_version.has_value();
  }
};

struct KeptBlob {
  crypto::BlobId id;
  std::shared_ptr<const Bytes> bytes;  // Null for a file.
};

// What the coordinator must know after a crash. Used by one thread at a time. Durable when a call
// returns OK.
class JobStore {
 public:
  virtual ~JobStore() = default;

  // All or nothing. Returns the blobs that no job names any more. ALREADY_EXISTS: a job id or
  // idempotency key is taken; NOT_FOUND: an event of an unknown job; RESOURCE_EXHAUSTED: disk full.
  [[nodiscard]] virtual StatusOr<std::vector<crypto::BlobId>> Append(const Batch& batch) = 0;

  // Jobs that have not ended, in order of submission.
  [[nodiscard]] virtual StatusOr<std::vector<StoredJob>> LoadUnfinished() = 0;
  // NOT_FOUND.
  [[nodiscard]] virtual StatusOr<StoredJob> LoadJob(const JobId& id) = 0;
  // False also of a job that is not known.
  [[nodiscard]] virtual StatusOr<bool> HasEnded(const JobId& id) = 0;
  // Newest first. The summary of a job that has not ended is empty but for its id.
  [[nodiscard]] virtual StatusOr<std::vector<v1::JobSummary>> ListJobs(std::uint32_t limit) = 0;
  // NOT_FOUND.
  [[nodiscard]] virtual StatusOr<StoredSubmission> FindSubmission(
      const ResearcherId& researcher, std::string_view idempotency_key) = 0;
  // Every blob that some job names; and those of jobs that have not ended, small ones with their
  // content.
  [[nodiscard]] virtual StatusOr<std::vector<crypto::BlobId>> ListBlobs() = 0;
  [[nodiscard]] virtual StatusOr<std::vector<KeptBlob>> LoadBlobsOfUnfinished() = 0;
  // The content of a small blob. NOT_FOUND.
  [[nodiscard]] virtual StatusOr<Bytes> LoadBlob(const crypto::BlobId& id) = 0;
  [[nodiscard]] virtual StatusOr<std::map<SiteId, StoredSite>> LoadSites() = 0;
  // The highest roster version ever taken; 0 at first.
  [[nodiscard]] virtual StatusOr<std::uint64_t> RosterVersion() = 0;

  // A coordinator begins with this store.
  [[nodiscard]] virtual Status RecordStart(Time when) = 0;
  // Oldest first, of the last kMostStarts.
  static constexpr int kMostStarts = 1000;
  [[nodiscard]] virtual StatusOr<std::vector<Time>> LoadStarts() = 0;
  // Of all jobs.
  [[nodiscard]] virtual StatusOr<std::uint64_t> NumEvents() = 0;
};

}  // namespace chorale::coordinator
