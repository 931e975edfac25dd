#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"
#include "site_agent/journal.h"
#include "site_agent/outlet.h"
#include "site_agent/reason_codes.h"
#include "site_agent/task_policy.h"

// The only door out of the site: start here to learn what can leave it.
namespace chorale::site_agent {

// The closed list of what a session may say.
struct HelloRelease {
  std::vector<std::string> datasets;  // Ids of the configuration, at most 256.
  std::vector<TaskId> active_tasks;   // At most 64.
};
struct HeartbeatRelease {};
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
  // As the kind of the terms says: float32 for an update, float64 for everything else.
  std::variant<std::vector<float>, std::vector<double>> payload;
  std::uint64_t num_examples = 0;
  std::vector<v1::MetricValue> metrics = {};  // Beside an update only.
  Duration training_time{0};
};

// Checks, journals, then sends; nothing else in the site agent can send (see Released). The place
// where disclosure rules, privacy budgets and secure aggregation belong. Safe for concurrent use.
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

  // Sends a report that passed before; blocks for the coordinator's answer. NOT_FOUND: no pending
  // report.
  [[nodiscard]] Status Deliver(const TaskId& task_id);

 private:
  Outlet& outlet_;
  Journal& journal_;
  const Clock& clock_;
  const std::set<std::string> datasets_;
};

// Characters and length of ids that tasks may have: 1 to 128 of [A-Za-z0-9._/-].
[[nodiscard]] bool IsValidTaskId(const TaskId& task_id);

}  // namespace chorale::site_agent
