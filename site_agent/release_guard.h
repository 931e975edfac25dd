#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/storage/state_mark.h"
#include "core/time.h"
#include "jobs/masking.h"
#include "privacy/ledger/entry.h"
#include "secagg/mask_terms.h"
#include "secagg/messages.h"
#include "site_agent/journal.h"
#include "site_agent/outlet.h"
#include "site_agent/privacy_accounts.h"
#include "site_agent/reason_codes.h"
#include "site_agent/task_policy.h"

// The only door out of the site: start here to learn what can leave it.
namespace chorale::site_agent {

// The closed list of what a session may say.
struct HelloRelease {
  std::vector<std::string> datasets;  // Ids of the configuration, at most 256.
  std::vector<TaskId> active_tasks;   // At most 64.
  std::string instance = {};          // Of this process: at most 64 letters and digits.
  storage::StateMark state = {};      // Of this state directory; not told without a lineage.
  std::optional<privacy::LedgerHead> ledger = {};  // Where the ledger stands: no more of it.
  std::vector<JobId> open_jobs = {};  // That the ledger holds steps for, as the coordinator named
                                      // them: at most 64.
};
struct HeartbeatRelease {
  std::optional<privacy::LedgerHead> ledger = {};  // Where it has changed.
};
struct AcceptedRelease {
  TaskId task_id;
};
struct RefusedRelease {
  TaskId task_id;
  Refusal refusal;  // The text is rendered from the fixed table here, not by the caller.
};
struct ProgressRelease {
  TaskId task_id;
  std::uint32_t permille = 0;
};
using ControlRelease =
    std::variant<HelloRelease, HeartbeatRelease, AcceptedRelease, RefusedRelease, ProgressRelease>;

// What work on a task came to.
struct Report {
  // As the terms say: float32 for an update, whole numbers for a noisy sum of gradients, of
  // Newton's method or of a private preparation, float64 for everything else.
  std::variant<std::vector<float>, std::vector<double>, std::vector<std::int64_t>> payload;
  std::uint64_t num_examples = 0;             // 0 where the terms are private.
  std::vector<v1::MetricValue> metrics = {};  // Beside an update only.
  // Where the terms are private: a noisy sum of metrics, in rounds that have one.
  std::vector<std::int64_t> metric_sum = {};
  Duration training_time{0};
  // Where the terms are private: that the ledger was charged before the rows were used.
  std::shared_ptr<const PrivacyCharge> charge = {};
};

// What masks the report of one round, and who signs for it. Used once.
struct Masking {
  jobs::MaskedLayout layout;
  // Sites that add noise to the sum whatever happens: jobs::HonestSites.
  std::uint32_t honest_sites = 1;
  std::vector<secagg::OwnedMaskTerm> terms;
  int num_threads = 1;
  // The MaskedInput for the masked vector of this digest.
  std::function<StatusOr<Bytes>(const crypto::Digest& vector)> sign;
  // Gives the round up when this goes before it was signed for.
  std::shared_ptr<const void> round = {};
};

// A message of secure aggregation, which tells nothing of the data: AdvertiseKeys, ShareKeys,
// ShareKeysAck, ConsistencySignature or Unmasking.
struct MessageRelease {
  TaskId task_id;
  secagg::MessageKind kind = secagg::MessageKind::kAdvertiseKeys;
  Bytes message;
};

// Checks, journals, then sends; nothing else in the site agent can send (see Released). The place
// where disclosure rules and privacy budgets belong; secure aggregation happens here. Safe for
// concurrent use.
class ReleaseGuard {
 public:
  // `datasets`: the ids that may be told. All references must outlive the guard.
  ReleaseGuard(Outlet& outlet, Journal& journal, const Clock& clock,
               std::set<std::string> datasets);

  // A control message. PERMISSION_DENIED when it may not leave; UNAVAILABLE when there is no
  // session; the journal's errors, and then nothing was sent.
  [[nodiscard]] Status Release(const ControlRelease& release);

  // Lets a report pass: afterwards it is durable in the journal and Deliver() sends those very
  // bytes, however often. PERMISSION_DENIED: it is not what the terms say, with the field at fault
  // and never its value. ALREADY_EXISTS: the task has a report, which stands.
  [[nodiscard]] Status Release(const ReleaseTerms& terms, const Report& report);

  // The same under secure aggregation: what passed the checks is encoded and masked here, so that
  // its numbers end at this door. Also: the refusals of encoding and signing (secagg::RefusalOf).
  [[nodiscard]] Status Release(const ReleaseTerms& terms, const Report& report,
                               const Masking& masking);

  // Lets a message of secure aggregation pass, as a report of its task. PERMISSION_DENIED: of
  // another kind than a site's, or larger than its kind. Else as above.
  [[nodiscard]] Status Release(const MessageRelease& release);

  // Sends a report that passed before; blocks for the coordinator's answer. NOT_FOUND: no pending
  // report.
  [[nodiscard]] Status Deliver(const TaskId& task_id);

 private:
  [[nodiscard]] Status Record(std::string kind, const v1::ReportHeader& header, ByteSpan payload);

  Outlet& outlet_;
  Journal& journal_;
  const Clock& clock_;
  const std::set<std::string> datasets_;
};

// Characters and length of ids that tasks may have: 1 to 128 of [A-Za-z0-9._/-].
[[nodiscard]] bool IsValidTaskId(const TaskId& task_id);

}  // namespace chorale::site_agent
