#include "coordinator/job.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <type_traits>
#include <utility>

#include "coordinator/round_record.h"
#include "coordinator/time_codec.h"
#include "jobs/job_spec.h"

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

}  // namespace

JobRules RulesOf(const v1::JobSpec& spec) {
  JobRules rules{.num_rounds = spec.rounds().count(),
                 .min_reports = spec.rounds().min_reports(),
                 .max_abandoned = spec.rounds().max_abandoned(),
                 .deadline = FromProto(spec.rounds().deadline()),
                 .needs_preparation = jobs::NeedsPreparation(spec),
                 .uses_newton = spec.has_newton(),
                 .personalizes = spec.has_personalization()};
  if (spec.rounds().has_early_stop()) {
    const v1::EarlyStop& stop = spec.rounds().early_stop();
    rules.early_stop = EarlyStopRules{.kind = stop.metric().kind(),
                                      .split = stop.metric().split(),
                                      .patience = stop.patience(),
                                      .min_change = stop.min_change()};
  }
  return rules;
}

bool IsPassing(const Refusal& refusal) {
  constexpr std::string_view kPassing[] = {"BUSY",          "SITE_STOPPING",  "TASK_EXPIRED",
                                           "TASK_REPEATED", "RESOURCE_LIMIT", "INTERNAL_ERROR"};
  return std::find(std::begin(kPassing), std::end(kPassing), refusal.code) != std::end(kPassing);
}

Job::Job(const JobRules& rules) : rules_(rules) {
  if (rules.early_stop.has_value()) early_stop_.emplace(*rules.early_stop);
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
    consecutive_abandoned_ = transition.record->published() ? 0 : consecutive_abandoned_ + 1;
    rounds_.push_back(*std::move(transition.record));
  }
  if (transition.model.has_value()) {
    model_ = transition.model;
    server_state_ = transition.server_state;
  }
  if (transition.moments.has_value()) moments_ = *std::move(transition.moments);
  if (transition.early_stop.has_value()) early_stop_ = transition.early_stop;
  if (!transition.end_reason.empty()) end_reason_ = std::move(transition.end_reason);
  if (transition.refusal.has_value()) refusals_.insert(*std::move(transition.refusal));
  state_ = std::move(transition.next);
  if (has_ended()) ended_at_ = now;
}

// Every pair without a handler of its own.
template <typename State, typename Event>
StatusOr<Job::Transition> Job::On(const State&, const Event& event, Time now) const {
  if constexpr (std::is_same_v<Event, CancelRequested>) return Cancel(event, now);
  if constexpr (std::is_same_v<Event, SiteReported>) {
    return FailedPrecondition(NameOf(event.round) + " is closed");
  }
  return FailedPrecondition("the event has no meaning in this state of the job");
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
  CHORALE_ASSIGN_OR_RETURN(
      Round round,
      Round::Create(state.round, event.sites,
                    {.min_reports = rules_.min_reports, .deadline = rules_.deadline}, now));
  Transition transition{.next = Running{round, state.phase}};
  for (const RoundAction& action : round.OutstandingActions()) {
    transition.actions.push_back(ToJobAction(round, action));
  }
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
  const bool fits = state.phase == Phase::kPreparation       ? preparation != nullptr
                    : state.phase == Phase::kPersonalization ? metrics != nullptr
                                                             : model != nullptr;
  if (!fits || (model == nullptr && (event.server_state.has_value() || !event.converged.empty()))) {
    return FailedPrecondition("the result is not of the kind that " + NameOf(state.round.key()) +
                              " makes");
  }
  Round round = state.round;
  CHORALE_RETURN_IF_ERROR(round.Step(SumReady{}, now).status());
  v1::RoundRecord record = RecordOf(round, state.phase, now);
  record.set_reason(event.note);
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
  return Recorded(std::move(transition), round.key(), std::move(record));
}

StatusOr<Job::Transition> Job::On(const Running& state, const AggregationFailed& event,
                                  Time now) const {
  return StepRound(state, SumFailed{"the reports could not be summed: " + event.reason}, now);
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
    return Transition{.next = Running{std::move(round), state.phase},
                      .actions = std::move(actions)};
  }
  Transition transition =
      AfterAbandoned(round.key(), state.phase, RecordOf(round, state.phase, now), now);
  transition.actions.insert(transition.actions.begin(), actions.begin(), actions.end());
  return transition;
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
  if (is_last && reason.empty() && phase == Phase::kNewton) {
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
          : Select({key.number, key.attempt + 1}, phase, now);
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

Job::Transition Job::Select(RoundKey key, Phase phase, Time now) const {
  return Transition{
      .next =
          Selecting{.round = key, .phase = phase, .since = now, .deadline = now + rules_.deadline},
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
