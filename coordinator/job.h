#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "coordinator/early_stop.h"
#include "coordinator/round.h"
#include "coordinator/round_record.h"
#include "core/crypto/blob_digest.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"
#include "jobs/masking.h"

namespace chorale::coordinator {

// What the machine needs of a valid specification.
struct JobRules {
  std::uint32_t num_rounds = 1;  // Published training or newton rounds wanted, at most.
  std::uint32_t min_reports = 1;
  std::uint32_t max_abandoned = 0;  // Consecutive abandoned rounds that are tolerated.
  Duration deadline{};              // Of each round, and of waiting for a cohort.
  bool needs_preparation = false;
  bool uses_newton = false;  // Rounds 1 to num_rounds are steps of Newton's method.
  bool is_noisy = false;     // From noisy sums: all of them are taken, since none is the last.
  bool personalizes = false;
  std::optional<EarlyStopRules> early_stop = {};
  std::optional<jobs::GroupRules> masking = {};  // Unset: reports are seen one by one.
  std::optional<double> clipping_norm = {};      // The first, where clipping adapts.
};
[[nodiscard]] JobRules RulesOf(const v1::JobSpec& spec);

// True for refusals that speak of the moment (docs/reason_codes.md): the site may be asked again in
// the next round.
[[nodiscard]] bool IsPassing(const Refusal& refusal);

using Moments = std::vector<v1::FeatureMoments>;  // One per numeric feature, in order.
using RoundMetrics = std::vector<v1::MetricValue>;

// What a preparation round finds.
struct Preparation {
  Moments moments = {};
  std::vector<v1::ColumnStatistics> statistics = {};  // Numeric and categorical features, in order.
};

// What single reports do not say under secure aggregation.
struct MaskedSums {
  std::uint64_t num_examples = 0;
  RoundMetrics metrics = {};  // Over all contributors.
  crypto::Digest session{};
  std::optional<double> next_clipping_norm = {};  // Of training whose clipping adapts.
};

// ---------------------------------------------------------------------------- events (v1::JobEvent
// is their codec)

struct JobStarted {
  crypto::BlobId initial_model;
};
struct StartFailed {
  std::string reason;
};
struct CohortSelected {
  std::vector<SiteId> sites;    // Sorted.
  bool begins_session = false;  // Of secure aggregation: the sites exchange keys first.
  // What makes the session again after a crash: when the round was opened, by the wall clock, and
  // what its first step told everybody.
  Time wall_time = {};
  std::optional<crypto::BlobId> manifest = {};  // Where a session begins.
};
struct NoCohort {
  std::string reason;
};
struct QuorumImpossible {
  std::string reason;
};
struct SiteReported {
  RoundKey round;
  SiteId site;
  Report report;
};
struct SiteRefused {
  RoundKey round;
  SiteId site;
  Refusal refusal;
};
struct SiteDropped {
  SiteId site;
};
struct SiteReturned {
  SiteId site;
};
struct DeadlinePassed {};
struct RoundAggregated {
  // The next model; of a preparation and of a personalization round, what it is for.
  std::variant<crypto::BlobId, Preparation, RoundMetrics> result;
  std::optional<crypto::BlobId> server_state =
      {};                                 // With a model: what the next round needs of it.
  std::string converged = {};             // With a model: why no further round is needed.
  std::string note = {};                  // For people: what they should know of the round.
  std::optional<MaskedSums> masked = {};  // Of a masked round.
};
struct AggregationFailed {
  std::string reason;
};
struct CancelRequested {
  ResearcherId by;
};
// A step of secure aggregation is through; these sites take part in the next one.
struct StepDone {
  RoundKey round;
  std::vector<SiteId> sites;  // Sorted.
  Time wall_time = {};        // When it was closed, for the same purpose.
};
// The coordinator does not have the session of the round under way any more.
struct SessionLost {
  std::string reason;
};
// No coordinator was there: what has a deadline has so much longer.
struct Interrupted {
  Duration by;
};
using JobEvent =
    std::variant<JobStarted, StartFailed, CohortSelected, NoCohort, QuorumImpossible, SiteReported,
                 SiteRefused, SiteDropped, SiteReturned, DeadlinePassed, RoundAggregated,
                 AggregationFailed, CancelRequested, StepDone, SessionLost, Interrupted>;

// ---------------------------------------------------------------------------- actions

// Make the initial model, then tell JobStarted or StartFailed.
struct MakeInitialModel {
  friend bool operator==(const MakeInitialModel&, const MakeInitialModel&) = default;
};
// Find a cohort, then tell CohortSelected; or NoCohort at the deadline; or QuorumImpossible.
struct FindCohort {
  RoundKey round;
  friend bool operator==(const FindCohort&, const FindCohort&) = default;
};
struct Dispatch {
  RoundKey round;
  SiteId site;
  Time report_deadline;
  friend bool operator==(const Dispatch&, const Dispatch&) = default;
};
// Make of the reports what comes next, then tell RoundAggregated or AggregationFailed; in a step of
// secure aggregation before the last, StepDone or AggregationFailed.
struct Aggregate {
  RoundKey round;
  friend bool operator==(const Aggregate&, const Aggregate&) = default;
};
struct CancelTasks {
  RoundKey round;
  std::vector<SiteId> sites;
  std::string reason;
  friend bool operator==(const CancelTasks&, const CancelTasks&) = default;
};
// No site reports to this round any more: its tasks are closed.
struct CloseTasks {
  RoundKey round;
  friend bool operator==(const CloseTasks&, const CloseTasks&) = default;
};
// The round's record is rounds()[index]; the payloads it collected may be removed.
struct RecordRound {
  RoundKey round;
  std::size_t index;
  friend bool operator==(const RecordRound&, const RecordRound&) = default;
};
struct Ended {
  friend bool operator==(const Ended&, const Ended&) = default;
};
using JobAction = std::variant<MakeInitialModel, FindCohort, Dispatch, Aggregate, CancelTasks,
                               CloseTasks, RecordRound, Ended>;

// ---------------------------------------------------------------------------- states

struct Queued {};
struct Selecting {
  RoundKey round;
  Phase phase;
  Time since;
  Time deadline;
  Time not_before;  // A pause after rounds that were abandoned in a row.
};
struct Running {
  Round round;  // Of the present step.
  Phase phase;
  Time started_at;         // Of the round's first step.
  SiteStatuses done = {};  // Of sites that are no part of the present step, or have reported.
  // Of messages that are no reports.
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
};
struct Completed {
  std::string reason;  // Of an early end; empty: every round was run.
};
struct Failed {
  std::string reason;
};
struct CancelledBy {
  ResearcherId researcher;
};
using JobMachineState = std::variant<Queued, Selecting, Running, Completed, Failed, CancelledBy>;

// One job from submission to its end, as a deterministic state machine around Round:
//   Queued → Selecting ⇄ Running → Completed | Failed | CancelledBy
// Round 0, if the rules ask for it, prepares; rounds 1 to num_rounds train or are steps of Newton's
// method, and end before that when the solution converged or a metric stops getting better; one
// more, if the rules ask for it, personalizes. Under secure aggregation a round is a Round for each
// step, in the order of RoundStep's comment; who falls out before the report is no contributor, who
// falls out after it is. Replaying the same events gives the same state and
// actions. Not thread-safe: the driver owns it.
class Job {
 public:
  explicit Job(const JobRules& rules);

  // Applies one event that happened at `now`. Returns the actions to carry out, in order. On error
  // the state is unchanged: FAILED_PRECONDITION, or what Round::Step says.
  [[nodiscard]] StatusOr<std::vector<JobAction>> Step(const JobEvent& event, Time now);

  // What the present state asks for: again after a crash. Every action may be repeated.
  [[nodiscard]] std::vector<JobAction> OutstandingActions() const;
  // Running: when DeadlinePassed is due. Selecting: when NoCohort is.
  [[nodiscard]] std::optional<Time> NextDeadline() const;

  [[nodiscard]] const JobMachineState& state() const { return state_; }
  [[nodiscard]] bool has_ended() const { return state_.index() >= 3; }
  // The running round, if any.
  [[nodiscard]] const Round* round() const;
  // Of the round that is running or looks for its cohort.
  [[nodiscard]] std::optional<Phase> phase() const;
  [[nodiscard]] const JobRules& rules() const { return rules_; }
  [[nodiscard]] const std::vector<v1::RoundRecord>& rounds() const { return rounds_; }
  // Training or newton rounds: those that published a model.
  [[nodiscard]] std::uint32_t num_published() const { return num_published_; }
  // Sites that said no to this job for a reason that lasts: they are not asked again.
  [[nodiscard]] const std::map<SiteId, Refusal>& refusals() const { return refusals_; }
  // The global model that the next round starts from; unset before JobStarted.
  [[nodiscard]] const std::optional<crypto::BlobId>& model() const { return model_; }
  // What the last round left for the next one beside the model, if anything.
  [[nodiscard]] const std::optional<crypto::BlobId>& server_state() const { return server_state_; }
  [[nodiscard]] const Moments& moments() const { return moments_; }
  // What gradients are shortened to in the next round that trains; where clipping adapts.
  [[nodiscard]] std::optional<double> clipping_norm() const { return clipping_norm_; }
  [[nodiscard]] std::optional<Time> ended_at() const { return ended_at_; }
  // The round that the present session of secure aggregation began with; unset: there is none.
  [[nodiscard]] const std::optional<RoundKey>& session_round() const { return session_round_; }
  // Whose sum an attempt at the present round began to reveal and did not get: the site that helped
  // reveals no sum over nearly the same sites. Sorted; empty: there is none.
  [[nodiscard]] const std::vector<SiteId>& begun_sum() const { return begun_sum_; }
  // Of the running round, whatever its step: whose reports count so far; and how many were asked.
  [[nodiscard]] std::map<SiteId, Report> Contributors() const;
  [[nodiscard]] std::size_t cohort_size() const;

 private:
  // Everything a step changes, so that a failed one changes nothing.
  struct Transition {
    JobMachineState next;
    std::vector<JobAction> actions = {};
    std::optional<v1::RoundRecord> record = {};
    std::optional<crypto::BlobId> model = {};
    std::optional<crypto::BlobId> server_state = {};  // Goes with the model.
    std::optional<Moments> moments = {};
    std::optional<double> clipping_norm = {};
    std::optional<EarlyStop> early_stop = {};
    std::string end_reason = {};  // Of an early end that a personalization round still follows.
    std::optional<std::pair<SiteId, Refusal>> refusal = {};
    std::optional<std::size_t> session_size = {};
    std::optional<RoundKey> session_round = {};
    std::vector<SiteId> begun_sum = {};  // Unless empty.
    bool is_forgiven = false;  // The abandoned round was nobody's fault: it does not count.
  };

  [[nodiscard]] StatusOr<Transition> On(const Queued& state, const JobStarted& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Queued& state, const StartFailed& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Selecting& state, const CohortSelected& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Selecting& state, const NoCohort& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Selecting& state, const QuorumImpossible& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Running& state, const SiteReported& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Running& state, const SiteRefused& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Running& state, const SiteDropped& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Running& state, const SiteReturned& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Running& state, const DeadlinePassed& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Running& state, const RoundAggregated& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Running& state, const AggregationFailed& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Running& state, const StepDone& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Running& state, const SessionLost& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Running& state, const Interrupted& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(const Selecting& state, const Interrupted& event,
                                        Time now) const;
  template <typename State, typename Event>
  [[nodiscard]] StatusOr<Transition> On(const State& state, const Event& event, Time now) const;
  // Cancelling means the same in every state but the ended ones.
  [[nodiscard]] StatusOr<Transition> Cancel(const CancelRequested& event, Time now) const;

  // Asks every site of the step.
  [[nodiscard]] static Transition Opened(Running running);
  [[nodiscard]] RoundRules RulesOfStep(RoundStep step, std::size_t session_size) const;
  // What the round has come to with its present step. Empty `abandoned_for`: published.
  [[nodiscard]] RoundOutcome OutcomeOf(const Running& state, const Round& round,
                                       std::string abandoned_for, Time now) const;
  // Steps a copy of the round and follows where it led.
  [[nodiscard]] StatusOr<Transition> StepRound(const Running& state, const RoundEvent& event,
                                               Time now) const;
  [[nodiscard]] Transition AfterPublished(Phase phase, const v1::RoundRecord& record,
                                          const std::string& converged, Time now) const;
  // Once no further round makes a model, for `reason`.
  [[nodiscard]] Transition AfterLastModel(std::uint32_t last_round, std::string reason,
                                          Time now) const;
  [[nodiscard]] Transition AfterAbandoned(RoundKey key, Phase phase, v1::RoundRecord record,
                                          Time now) const;
  // Of a round that is given up as it stands.
  [[nodiscard]] std::vector<SiteId> BegunSum(const Running& state) const;
  // Puts `record` on file as part of the transition.
  [[nodiscard]] Transition Recorded(Transition transition, RoundKey key,
                                    v1::RoundRecord record) const;
  [[nodiscard]] Transition Select(RoundKey key, Phase phase, Time now, Duration pause = {}) const;
  [[nodiscard]] Transition Complete(std::string reason) const;
  [[nodiscard]] Transition Fail(std::string reason) const;
  // Of the rounds that make a model.
  [[nodiscard]] Phase ModelPhase() const {
    return rules_.uses_newton ? Phase::kNewton : Phase::kTraining;
  }
  void Commit(Transition transition, Time now);

  JobRules rules_;
  JobMachineState state_ = Queued{};
  std::vector<v1::RoundRecord> rounds_;
  std::map<SiteId, Refusal> refusals_;
  std::optional<crypto::BlobId> model_;
  std::optional<crypto::BlobId> server_state_;
  Moments moments_;
  std::optional<double> clipping_norm_;
  std::optional<EarlyStop> early_stop_;
  std::string end_reason_;
  std::uint32_t num_published_ = 0;
  std::uint32_t consecutive_abandoned_ = 0;
  std::size_t session_size_ =
      0;  // Sites that the present session of secure aggregation began with.
  std::optional<RoundKey> session_round_;
  std::vector<SiteId> begun_sum_;
  std::optional<Time> ended_at_;
};

}  // namespace chorale::coordinator
