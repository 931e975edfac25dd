#include "coordinator/job.h"

#include <algorithm>
#include <map>
#include <set>
#include <type_traits>
#include <utility>

#include "coordinator/time_codec.h"
#include "jobs/adaptive_clipping.h"

namespace chorale::coordinator {
namespace {

std::string NameOf(RoundKey key) { return "round " + std::to_string(key.number.value()); }

// The record of a round that asked nobody.
v1::RoundRecord RecordOfNoCohort(const Selecting& state, const std::string& reason, Time now) {
  v1::RoundRecord record;
  record.set_round(state.round.number.value());
  record.set_phase(NameOf(state.phase));
  record.set_published(false);
  record.set_reason(reason);
  *record.mutable_started_at() = ToProto(state.since);
  *record.mutable_ended_at() = ToProto(now);
  return record;
}

JobAction ToJobAction(const Round& round, const RoundAction& action) {
  if (const auto* ask = std::get_if<AskSite>(&action)) {
    return Dispatch{round.key(), ask->site, round.report_deadline()};
  }
  if (const auto* stop = std::get_if<StopSites>(&action)) {
    return CancelTasks{round.key(), stop->sites, stop->reason};
  }
  return Aggregate{round.key()};
}

Status CheckKey(const Round& round, RoundKey key) {
  if (round.key() == key) return OkStatus();
  return FailedPrecondition(NameOf(key) + " is closed");
}

// Unset: the round is over.
std::optional<RoundStep> StepAfter(RoundStep step) {
  switch (step) {
    case RoundStep::kAdvertiseKeys:
      return RoundStep::kShareKeys;
    case RoundStep::kShareKeys:
      return RoundStep::kAcknowledgeShares;
    case RoundStep::kAcknowledgeShares:
      return RoundStep::kReport;
    case RoundStep::kReport:
      return RoundStep::kConsistencyCheck;
    case RoundStep::kConsistencyCheck:
      return RoundStep::kUnmasking;
    case RoundStep::kUnmasking:
      break;
  }
  return std::nullopt;
}

bool ComesAfterReport(RoundStep step) {
  return step == RoundStep::kConsistencyCheck || step == RoundStep::kUnmasking;
}

// What sites sent and fetched in a step that reports nothing.
void AddMessageBytes(const Round& round, Running& running) {
  if (round.key().step == RoundStep::kReport) return;
  for (const auto& [site, report] : round.Contributors()) {
    running.bytes_up += report.payload.size_bytes;
    running.bytes_down += report.bytes_down;
  }
}

// Sites may all refuse at once, for a reason that passes: the attempts that a job tolerates must
// not be used up within a moment. The first one is made good without delay.
Duration PauseAfter(std::uint32_t num_abandoned) {
  constexpr Duration kFirstPause = std::chrono::seconds(1);
  constexpr std::uint32_t kMostDoublings = 6;
  if (num_abandoned <= 1) return Duration(0);
  return kFirstPause * (1 << std::min(num_abandoned - 2, kMostDoublings));
}

// A site whose answer the session would not take.
Refusal NotTaken() {
  return {.code = "SECURE_AGGREGATION_FAILED",
          .message = "its answer does not fit the session; the coordinator's log says why"};
}

// The sites of the step that is through, as they stand: who goes on is left to the next step, but
// for reports, which are what the round is about.
void MergeStatuses(const Round& round, const std::set<SiteId>& goes_on, SiteStatuses& done) {
  if (ComesAfterReport(round.key().step)) return;
  for (const auto& [site, status] : round.sites()) {
    const bool has_answered = std::holds_alternative<Report>(status);
    if (goes_on.contains(site)) {
      if (round.key().step == RoundStep::kReport) done.insert_or_assign(site, status);
    } else {
      done.insert_or_assign(site, has_answered ? SiteStatus(NotTaken()) : status);
    }
  }
}

}  // namespace

Job::Job(const JobRules& rules) : rules_(rules), clipping_norm_(rules.clipping_norm) {
  if (rules.early_stop.has_value()) early_stop_.emplace(*rules.early_stop);
}

// Every pair without a handler of its own. Before what uses it, or clang 14 makes no code of it.
template <typename State, typename Event>
StatusOr<Job::Transition> Job::On(const State&, const Event& event, Time now) const {
  if constexpr (std::is_same_v<Event, CancelRequested>) return Cancel(event, now);
  if constexpr (std::is_same_v<Event, SiteReported>) {
    return FailedPrecondition(NameOf(event.round) + " is closed");
  }
  return FailedPrecondition("the event has no meaning in this state of the job");
}

StatusOr<std::vector<JobAction>> Job::Step(const JobEvent& event, Time now) {
  StatusOr<Transition> transition = std::visit(
      [&](const auto& state, const auto& e) -> StatusOr<Transition> { return On(state, e, now); },
      state_, event);
  if (!transition.ok()) return transition.status();
  std::vector<JobAction> actions = std::move(transition->actions);
  Commit(*std::move(transition), now);
  return actions;
}

// The only place that changes the job.
void Job::Commit(Transition transition, Time now) {
  if (transition.record.has_value()) {
    if (transition.model.has_value()) ++num_published_;
    if (!transition.is_forgiven) {
      consecutive_abandoned_ = transition.record->published() ? 0 : consecutive_abandoned_ + 1;
    }
    if (transition.record->published()) begun_sum_.clear();
    rounds_.push_back(*std::move(transition.record));
  }
  if (!transition.begun_sum.empty()) begun_sum_ = std::move(transition.begun_sum);
  if (transition.model.has_value()) {
    model_ = transition.model;
    server_state_ = transition.server_state;
  }
  if (transition.moments.has_value()) moments_ = *std::move(transition.moments);
  if (transition.clipping_norm.has_value()) clipping_norm_ = transition.clipping_norm;
  if (transition.early_stop.has_value()) early_stop_ = transition.early_stop;
  if (!transition.end_reason.empty()) end_reason_ = std::move(transition.end_reason);
  if (transition.refusal.has_value()) refusals_.insert(*std::move(transition.refusal));
  if (transition.session_size.has_value()) session_size_ = *transition.session_size;
  if (transition.session_round.has_value()) session_round_ = transition.session_round;
  state_ = std::move(transition.next);
  if (has_ended()) ended_at_ = now;
}

// ---------------------------------------------------------------------------- queued and selecting

StatusOr<Job::Transition> Job::On(const Queued&, const JobStarted& event, Time now) const {
  Transition transition = rules_.needs_preparation
                              ? Select({RoundNumber(0), 1}, Phase::kPreparation, now)
                              : Select({RoundNumber(1), 1}, ModelPhase(), now);
  transition.model = event.initial_model;
  return transition;
}

StatusOr<Job::Transition> Job::On(const Queued&, const StartFailed& event, Time) const {
  return Fail("the initial model could not be made: " + event.reason);
}

StatusOr<Job::Transition> Job::On(const Selecting& state, const CohortSelected& event,
                                  Time now) const {
  if (event.begins_session && !rules_.masking.has_value()) {
    return FailedPrecondition("the job does not ask for secure aggregation");
  }
  RoundKey key = state.round;
  std::size_t session_size = session_size_;
  if (event.begins_session) {
    key.step = RoundStep::kAdvertiseKeys;
    session_size = event.sites.size();
  }
  CHORALE_ASSIGN_OR_RETURN(
      Round round, Round::Create(key, event.sites, RulesOfStep(key.step, session_size), now));
  Transition transition =
      Opened({.round = std::move(round), .phase = state.phase, .started_at = now});
  transition.session_size = session_size;
  if (event.begins_session) transition.session_round = state.round;
  return transition;
}

StatusOr<Job::Transition> Job::On(const Selecting& state, const NoCohort& event, Time now) const {
  if (now < state.deadline) {
    return FailedPrecondition("the deadline for finding a cohort has not come");
  }
  return AfterAbandoned(state.round, state.phase, RecordOfNoCohort(state, event.reason, now), now);
}

StatusOr<Job::Transition> Job::On(const Selecting& state, const QuorumImpossible& event,
                                  Time now) const {
  return Recorded(Fail(event.reason), state.round, RecordOfNoCohort(state, event.reason, now));
}

// ---------------------------------------------------------------------------- running

StatusOr<Job::Transition> Job::On(const Running& state, const SiteReported& event, Time now) const {
  CHORALE_RETURN_IF_ERROR(CheckKey(state.round, event.round));
  return StepRound(state, ReportReceived{event.site, event.report}, now);
}

StatusOr<Job::Transition> Job::On(const Running& state, const SiteRefused& event, Time now) const {
  CHORALE_RETURN_IF_ERROR(CheckKey(state.round, event.round));
  CHORALE_ASSIGN_OR_RETURN(Transition transition,
                           StepRound(state, TaskRefusal{event.site, event.refusal}, now));
  if (!IsPassing(event.refusal)) transition.refusal.emplace(event.site, event.refusal);
  return transition;
}

StatusOr<Job::Transition> Job::On(const Running& state, const SiteDropped& event, Time now) const {
  return StepRound(state, ConnectionLost{event.site}, now);
}

StatusOr<Job::Transition> Job::On(const Running& state, const SiteReturned& event, Time now) const {
  return StepRound(state, ConnectionBack{event.site}, now);
}

StatusOr<Job::Transition> Job::On(const Running& state, const DeadlinePassed&, Time now) const {
  return StepRound(state, DeadlineReached{}, now);
}

StatusOr<Job::Transition> Job::On(const Running& state, const RoundAggregated& event,
                                  Time now) const {
  const auto* model = std::get_if<crypto::BlobId>(&event.result);
  const auto* preparation = std::get_if<Preparation>(&event.result);
  const auto* metrics = std::get_if<RoundMetrics>(&event.result);
  const RoundStep last = rules_.masking.has_value() ? RoundStep::kUnmasking : RoundStep::kReport;
  if (state.round.key().step != last || rules_.masking.has_value() != event.masked.has_value()) {
    return FailedPrecondition("the result does not belong to this step of " +
                              NameOf(state.round.key()));
  }
  const bool fits = state.phase == Phase::kPreparation       ? preparation != nullptr
                    : state.phase == Phase::kPersonalization ? metrics != nullptr
                                                             : model != nullptr;
  if (!fits || (model == nullptr && (event.server_state.has_value() || !event.converged.empty()))) {
    return FailedPrecondition("the result is not of the kind that " + NameOf(state.round.key()) +
                              " makes");
  }
  const bool adapts = clipping_norm_.has_value() && state.phase == Phase::kTraining;
  const std::optional<double> next_norm =
      event.masked.has_value() ? event.masked->next_clipping_norm : std::nullopt;
  if (adapts != next_norm.has_value() || (adapts && !jobs::IsClippingNorm(*next_norm))) {
    return FailedPrecondition("the clipping norm does not belong to " + NameOf(state.round.key()));
  }
  Round round = state.round;
  CHORALE_RETURN_IF_ERROR(round.Step(SumReady{}, now).status());
  v1::RoundRecord record = RecordOf(OutcomeOf(state, round, "", now));
  record.set_reason(event.note);
  if (event.masked.has_value()) {
    record.set_num_examples(event.masked->num_examples);
    record.mutable_metrics()->Assign(event.masked->metrics.begin(), event.masked->metrics.end());
    record.set_secagg_session(event.masked->session.data(), event.masked->session.size());
  }
  if (adapts) record.set_clipping_norm(*clipping_norm_);
  if (model != nullptr) record.set_model_digest(model->digest.data(), model->digest.size());
  if (preparation != nullptr) {
    record.mutable_statistics()->Assign(preparation->statistics.begin(),
                                        preparation->statistics.end());
  }
  if (metrics != nullptr) record.mutable_metrics()->Assign(metrics->begin(), metrics->end());

  Transition transition = AfterPublished(state.phase, record, event.converged, now);
  if (model != nullptr) {
    transition.model = *model;
    transition.server_state = event.server_state;
  }
  if (preparation != nullptr) transition.moments = preparation->moments;
  transition.clipping_norm = next_norm;
  return Recorded(std::move(transition), round.key(), std::move(record));
}

StatusOr<Job::Transition> Job::On(const Running& state, const AggregationFailed& event,
                                  Time now) const {
  return StepRound(state, SumFailed{"the reports could not be summed: " + event.reason}, now);
}

StatusOr<Job::Transition> Job::On(const Running& state, const StepDone& event, Time now) const {
  CHORALE_RETURN_IF_ERROR(CheckKey(state.round, event.round));
  const std::optional<RoundStep> next = StepAfter(event.round.step);
  if (!rules_.masking.has_value() || !next.has_value() ||
      !std::holds_alternative<Aggregating>(state.round.state())) {
    return FailedPrecondition("no step of secure aggregation is through in " +
                              NameOf(state.round.key()));
  }
  const std::map<SiteId, Report> answered = state.round.Contributors();
  const std::set<SiteId> goes_on(event.sites.begin(), event.sites.end());
  for (const SiteId& site : goes_on) {
    if (answered.contains(site)) continue;
    return PermissionDenied("site " + site.value() + " has not answered in this step");
  }
  Running running{.round = state.round,
                  .phase = state.phase,
                  .started_at = state.started_at,
                  .done = state.done,
                  .bytes_up = state.bytes_up,
                  .bytes_down = state.bytes_down};
  AddMessageBytes(state.round, running);
  MergeStatuses(state.round, goes_on, running.done);
  RoundKey key = state.round.key();
  key.step = *next;
  CHORALE_ASSIGN_OR_RETURN(running.round,
                           Round::Create(key, event.sites, RulesOfStep(*next, session_size_), now));
  return Opened(std::move(running));
}

StatusOr<Job::Transition> Job::On(const Running& state, const Interrupted& event, Time now) const {
  return StepRound(state, Paused{event.by}, now);
}

StatusOr<Job::Transition> Job::On(const Selecting& state, const Interrupted& event, Time) const {
  if (event.by <= Duration::zero()) return InvalidArgument("an interruption must take its time");
  Selecting longer = state;
  longer.deadline += event.by;
  return Transition{.next = longer};
}

StatusOr<Job::Transition> Job::On(const Running& state, const SessionLost& event, Time now) const {
  if (!rules_.masking.has_value()) {
    return FailedPrecondition("the job has no session of secure aggregation");
  }
  const RoundKey key = state.round.key();
  Transition transition = Recorded(Select({key.number, key.attempt + 1}, state.phase, now), key,
                                   RecordOf(OutcomeOf(state, state.round, event.reason, now)));
  transition.actions.insert(transition.actions.begin(), CloseTasks{key});
  transition.session_size = 0;
  transition.begun_sum = BegunSum(state);
  transition.is_forgiven = true;
  return transition;
}

// ---------------------------------------------------------------------------- steps

Job::Transition Job::Opened(Running running) {
  Transition transition;
  for (const RoundAction& action : running.round.OutstandingActions()) {
    transition.actions.push_back(ToJobAction(running.round, action));
  }
  transition.next = std::move(running);
  return transition;
}

// Every step of secure aggregation but the report takes a moment's work: it has a fifth of the
// round's deadline.
RoundRules Job::RulesOfStep(RoundStep step, std::size_t session_size) const {
  constexpr int kShareOfMessages = 5;
  constexpr Duration kLeastDeadline = std::chrono::seconds(1);
  RoundRules rules{.min_reports = rules_.min_reports, .deadline = rules_.deadline};
  if (!rules_.masking.has_value()) return rules;
  const secagg::GroupParameters group =
      jobs::GroupOf(*rules_.masking, static_cast<std::uint32_t>(session_size));
  rules.min_reports = ComesAfterReport(step)
                          ? group.threshold
                          : std::max({rules_.min_reports, group.threshold, group.min_group});
  if (step != RoundStep::kReport) {
    rules.deadline = std::max(kLeastDeadline, rules_.deadline / kShareOfMessages);
  }
  return rules;
}

RoundOutcome Job::OutcomeOf(const Running& state, const Round& round, std::string abandoned_for,
                            Time now) const {
  RoundOutcome outcome{.key = round.key(),
                       .phase = state.phase,
                       .started_at = state.started_at,
                       .ended_at = now,
                       .abandoned_for = std::move(abandoned_for),
                       .sites = state.done,
                       .bytes_up = state.bytes_up,
                       .bytes_down = state.bytes_down};
  if (ComesAfterReport(round.key().step)) {
    Running messages = state;
    AddMessageBytes(round, messages);
    outcome.bytes_up = messages.bytes_up;
    outcome.bytes_down = messages.bytes_down;
  } else {
    for (const auto& [site, status] : round.sites()) outcome.sites.insert_or_assign(site, status);
  }
  if (!outcome.abandoned_for.empty() && round.key().step != RoundStep::kReport) {
    outcome.abandoned_for =
        std::string("in step ") + NameOf(round.key().step) + ": " + outcome.abandoned_for;
  }
  return outcome;
}

StatusOr<Job::Transition> Job::StepRound(const Running& state, const RoundEvent& event,
                                         Time now) const {
  Round round = state.round;
  CHORALE_ASSIGN_OR_RETURN(const std::vector<RoundAction> round_actions, round.Step(event, now));
  std::vector<JobAction> actions;
  for (const RoundAction& action : round_actions) actions.push_back(ToJobAction(round, action));
  const bool was_collecting = std::holds_alternative<Collecting>(state.round.state());
  const bool is_collecting = std::holds_alternative<Collecting>(round.state());
  if (was_collecting && !is_collecting) actions.emplace_back(CloseTasks{round.key()});

  if (!std::holds_alternative<Abandoned>(round.state())) {
    Running running = state;
    running.round = std::move(round);
    return Transition{.next = std::move(running), .actions = std::move(actions)};
  }
  const std::string& reason = std::get<Abandoned>(round.state()).reason;
  Transition transition =
      AfterAbandoned(round.key(), state.phase, RecordOf(OutcomeOf(state, round, reason, now)), now);
  transition.actions.insert(transition.actions.begin(), actions.begin(), actions.end());
  transition.begun_sum = BegunSum(state);
  return transition;
}

std::vector<SiteId> Job::BegunSum(const Running& state) const {
  std::vector<SiteId> sites;
  if (state.round.key().step != RoundStep::kUnmasking) return sites;
  for (const auto& [site, report] : Contributors()) sites.push_back(site);
  return sites;
}

Job::Transition Job::AfterPublished(Phase phase, const v1::RoundRecord& record,
                                    const std::string& converged, Time now) const {
  switch (phase) {
    case Phase::kPreparation:
      return Select({RoundNumber(1), 1}, ModelPhase(), now);
    case Phase::kPersonalization:
      return Complete(end_reason_);
    case Phase::kTraining:
    case Phase::kNewton:
      break;
  }
  const bool is_last = record.round() >= rules_.num_rounds;
  std::optional<EarlyStop> early_stop = early_stop_;
  std::string reason = converged;
  if (early_stop.has_value()) {
    const std::string stopped = early_stop->Take(record);
    if (reason.empty() && !is_last) reason = stopped;
  }
  // What was odd about the last step is odd about the solution.
  if (!reason.empty() && !record.reason().empty()) reason += "; " + record.reason();
  if (is_last && reason.empty() && phase == Phase::kNewton && !rules_.is_noisy) {
    reason = "newton did not converge within " + std::to_string(rules_.num_rounds) + " rounds";
  }
  Transition transition = is_last || !reason.empty()
                              ? AfterLastModel(record.round(), std::move(reason), now)
                              : Select({RoundNumber(record.round() + 1), 1}, phase, now);
  transition.early_stop = std::move(early_stop);
  return transition;
}

Job::Transition Job::AfterLastModel(std::uint32_t last_round, std::string reason, Time now) const {
  if (!rules_.personalizes) return Complete(std::move(reason));
  Transition transition = Select({RoundNumber(last_round + 1), 1}, Phase::kPersonalization, now);
  transition.end_reason = std::move(reason);
  return transition;
}

Job::Transition Job::AfterAbandoned(RoundKey key, Phase phase, v1::RoundRecord record,
                                    Time now) const {
  const std::uint32_t abandoned = consecutive_abandoned_ + 1;
  Transition next =
      abandoned > rules_.max_abandoned
          ? Fail(NameOf(key) + " was abandoned" +
                 (abandoned > 1 ? " (" + std::to_string(abandoned) + " in a row)" : "") + ": " +
                 record.reason())
          : Select({key.number, key.attempt + 1}, phase, now, PauseAfter(abandoned));
  return Recorded(std::move(next), key, std::move(record));
}

Job::Transition Job::Recorded(Transition transition, RoundKey key, v1::RoundRecord record) const {
  transition.record = std::move(record);
  transition.actions.insert(transition.actions.begin(), RecordRound{key, rounds_.size()});
  return transition;
}

// ---------------------------------------------------------------------------- ends

StatusOr<Job::Transition> Job::Cancel(const CancelRequested& event, Time) const {
  if (has_ended()) return FailedPrecondition("the job has ended");
  Transition transition{.next = CancelledBy{event.by}};
  if (const Round* running = round()) {
    CancelTasks cancel{running->key(), {}, "the job was cancelled"};
    for (const auto& [site, status] : running->sites()) {
      if (!std::holds_alternative<Report>(status) && !std::holds_alternative<Refusal>(status)) {
        cancel.sites.push_back(site);
      }
    }
    if (!cancel.sites.empty()) transition.actions.emplace_back(std::move(cancel));
    transition.actions.emplace_back(CloseTasks{running->key()});
  }
  transition.actions.emplace_back(Ended{});
  return transition;
}

Job::Transition Job::Select(RoundKey key, Phase phase, Time now, Duration pause) const {
  return Transition{.next = Selecting{.round = key,
                                      .phase = phase,
                                      .since = now,
                                      .deadline = now + pause + rules_.deadline,
                                      .not_before = now + pause},
                    .actions = {FindCohort{key}}};
}

Job::Transition Job::Complete(std::string reason) const {
  return Transition{.next = Completed{std::move(reason)}, .actions = {Ended{}}};
}

Job::Transition Job::Fail(std::string reason) const {
  return Transition{.next = Failed{std::move(reason)}, .actions = {Ended{}}};
}

// ---------------------------------------------------------------------------- questions

const Round* Job::round() const {
  const auto* running = std::get_if<Running>(&state_);
  return running == nullptr ? nullptr : &running->round;
}

std::map<SiteId, Report> Job::Contributors() const {
  const auto* running = std::get_if<Running>(&state_);
  if (running == nullptr) return {};
  if (!ComesAfterReport(running->round.key().step)) return running->round.Contributors();
  std::map<SiteId, Report> contributors;
  for (const auto& [site, status] : running->done) {
    if (const auto* report = std::get_if<Report>(&status)) contributors.emplace(site, *report);
  }
  return contributors;
}

std::size_t Job::cohort_size() const {
  const auto* running = std::get_if<Running>(&state_);
  if (running == nullptr) return 0;
  std::set<SiteId> sites;
  for (const auto& [site, status] : running->round.sites()) sites.insert(site);
  for (const auto& [site, status] : running->done) sites.insert(site);
  return sites.size();
}

std::optional<Phase> Job::phase() const {
  if (const auto* selecting = std::get_if<Selecting>(&state_)) return selecting->phase;
  const auto* running = std::get_if<Running>(&state_);
  return running == nullptr ? std::nullopt : std::optional(running->phase);
}

std::vector<JobAction> Job::OutstandingActions() const {
  if (std::holds_alternative<Queued>(state_)) return {MakeInitialModel{}};
  if (const auto* selecting = std::get_if<Selecting>(&state_)) {
    return {FindCohort{selecting->round}};
  }
  std::vector<JobAction> actions;
  if (const Round* running = round()) {
    for (const RoundAction& action : running->OutstandingActions()) {
      actions.push_back(ToJobAction(*running, action));
    }
  }
  return actions;
}

std::optional<Time> Job::NextDeadline() const {
  if (const auto* selecting = std::get_if<Selecting>(&state_)) return selecting->deadline;
  const Round* running = round();
  return running == nullptr ? std::nullopt : running->NextDeadline();
}

}  // namespace chorale::coordinator
