#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/crypto/blob_digest.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"

namespace chorale::coordinator {

// What sites are asked within a round. Without secure aggregation that is their report and no more.
// With it the report is masked and two steps follow; three come before it where a session begins.
enum class RoundStep : std::uint8_t {
  kReport = 0,
  kAdvertiseKeys = 1,
  kShareKeys = 2,
  kAcknowledgeShares = 3,
  kConsistencyCheck = 4,
  kUnmasking = 5,
};

// Which round, which try at it, and what is asked in it: an abandoned round is tried again under
// the next attempt.
struct RoundKey {
  RoundNumber number;
  std::uint32_t attempt = 1;  // From 1.
  RoundStep step = RoundStep::kReport;
  friend auto operator<=>(const RoundKey&, const RoundKey&) = default;
};

// What a round is for, and so what its sites are asked.
enum class Phase { kPreparation, kTraining, kNewton, kPersonalization };

// ---------------------------------------------------------------------------- what a site said

struct Report {
  crypto::BlobId payload = {};
  std::uint64_t num_examples = 0;  // 0 where the payload is masked, or a message.
  std::vector<v1::MetricValue> metrics = {};
  std::uint64_t bytes_down = 0;   // Model bytes sent to the site for this task.
  std::string masked_input = {};  // Of a masked payload: what its site signed of it.
};
struct Refusal {
  std::string code;
  std::string message;
  friend bool operator==(const Refusal&, const Refusal&) = default;
};

// ---------------------------------------------------------------------------- events

struct ReportReceived {
  SiteId site;
  Report report;
};
struct TaskRefusal {
  SiteId site;
  Refusal refusal;
};
struct ConnectionLost {
  SiteId site;
};
struct ConnectionBack {
  SiteId site;
};
struct DeadlineReached {};  // NextDeadline() has come.
struct Paused {  // Nobody was there to take reports: what is waited for has as much longer.
  Duration by;
};
struct SumReady {};  // The aggregate is durable.
struct SumFailed {
  std::string reason;
};
using RoundEvent = std::variant<ReportReceived, TaskRefusal, ConnectionLost, ConnectionBack,
                                DeadlineReached, Paused, SumReady, SumFailed>;

// ---------------------------------------------------------------------------- actions

// Ask the site. May be repeated: the site knows the task by its id.
struct AskSite {
  SiteId site;
  friend bool operator==(const AskSite&, const AskSite&) = default;
};
// Sum what the contributors reported.
struct SumReports {
  friend bool operator==(const SumReports&, const SumReports&) = default;
};
// The round is closed: these sites need not go on.
struct StopSites {
  std::vector<SiteId> sites;
  std::string reason;
  friend bool operator==(const StopSites&, const StopSites&) = default;
};
using RoundAction = std::variant<AskSite, SumReports, StopSites>;

// ---------------------------------------------------------------------------- states

struct Pending {};  // Asked, not yet reported.
struct Dropped {
  Time waited_for_until;  // When the reconnect grace ends.
};
struct Straggler {};  // Not reported by the deadline.
using SiteStatus = std::variant<Pending, Report, Dropped, Refusal, Straggler>;
using SiteStatuses =
    std::map<SiteId, SiteStatus>;  // The whole cohort: nobody is left out silently.

struct Collecting {
  Time report_deadline;
  SiteStatuses sites;
};
struct Aggregating {
  SiteStatuses sites;  // Reports of the contributors; the others say why they are excluded.
};
struct Published {
  SiteStatuses sites;
};
struct Abandoned {
  std::string reason;
  SiteStatuses sites;
};
using RoundState = std::variant<Collecting, Aggregating, Published, Abandoned>;

struct RoundRules {
  std::uint32_t min_reports = 1;
  Duration deadline{};  // From asking to the last report.
};

// How long a dropped site is waited for: a tenth of the round's deadline, at least 1 s.
[[nodiscard]] Duration ReconnectGrace(Duration deadline);

// One federated round, or one step of it, as a deterministic state machine: no clock, no thread, no
// network, no disk. Same events in the same order give the same actions. Not thread-safe: the
// driver owns it.
//
// The round closes as soon as no site is pending or within its reconnect grace, or at the deadline;
// then it sums if enough sites reported, and is abandoned otherwise, with a reason that names who
// was missing and why.
class Round {
 public:
  // INVALID_ARGUMENT: an empty or repeating cohort, one smaller than the quorum, no time.
  [[nodiscard]] static StatusOr<Round> Create(RoundKey key, const std::vector<SiteId>& cohort,
                                              RoundRules rules, Time now);

  // Applies one event that happened at `now`. Returns the actions to carry out, in order. On error
  // the state is unchanged:
  //   FAILED_PRECONDITION  the event has no meaning in this state; a report after closing
  //   PERMISSION_DENIED    the site is not in the cohort
  //   ALREADY_EXISTS       this very report is already held
  [[nodiscard]] StatusOr<std::vector<RoundAction>> Step(const RoundEvent& event, Time now);

  // What the present state asks for: after creation, and again after a crash.
  [[nodiscard]] std::vector<RoundAction> OutstandingActions() const;

  // When DeadlineReached is due. Unset: the round waits for no time.
  [[nodiscard]] std::optional<Time> NextDeadline() const;

  [[nodiscard]] const RoundKey& key() const { return key_; }
  [[nodiscard]] const RoundState& state() const { return state_; }
  [[nodiscard]] const SiteStatuses& sites() const;
  [[nodiscard]] Time report_deadline() const;
  [[nodiscard]] Time started_at() const { return started_at_; }
  // Who reported, by site id.
  [[nodiscard]] std::map<SiteId, Report> Contributors() const;

 private:
  struct Transition {
    RoundState next;
    std::vector<RoundAction> actions;
  };

  Round(RoundKey key, RoundRules rules, Time started_at, RoundState state)
      : key_(key), rules_(rules), started_at_(started_at), state_(std::move(state)) {}

  [[nodiscard]] StatusOr<Transition> On(Collecting state, const ReportReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Collecting state, const TaskRefusal& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Collecting state, const ConnectionLost& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Collecting state, const ConnectionBack& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Collecting state, const DeadlineReached& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Collecting state, const Paused& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Aggregating state, const ReportReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Aggregating state, const SumReady& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Aggregating state, const SumFailed& event, Time now) const;
  template <typename State, typename Event>
  [[nodiscard]] StatusOr<Transition> On(const State& state, const Event& event, Time now) const;

  // Closes the round if nobody is left to wait for at `now`.
  [[nodiscard]] Transition CloseIfDone(Collecting state, Time now) const;
  [[nodiscard]] Transition Close(Collecting state) const;
  [[nodiscard]] std::string ShortfallReason(const SiteStatuses& sites) const;

  RoundKey key_;
  RoundRules rules_;
  Time started_at_;
  RoundState state_;
};

}  // namespace chorale::coordinator
