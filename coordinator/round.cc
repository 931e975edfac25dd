#include "coordinator/round.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace chorale::coordinator {
namespace {

constexpr Duration kLeastGrace = std::chrono::seconds(1);
constexpr int kDeadlineFractionOfGrace = 10;

template <typename... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

// The site's entry, or why the event cannot concern it.
StatusOr<SiteStatuses::iterator> FindSite(SiteStatuses& sites, const SiteId& site) {
  const auto found = sites.find(site);
  if (found == sites.end()) {
    return PermissionDenied("site " + site.value() + " is not in the cohort of this round");
  }
  return found;
}

// A second report of one site: held already, or too late to differ.
Status SecondReport(const SiteId& site, const Report& held, const Report& again) {
  if (held.payload == again.payload && held.num_examples == again.num_examples) {
    return AlreadyExists("this very report of site " + site.value() + " is already held");
  }
  return FailedPrecondition("site " + site.value() + " has reported another result in this round");
}

std::size_t NumReports(const SiteStatuses& sites) {
  return static_cast<std::size_t>(std::count_if(sites.begin(), sites.end(), [](const auto& entry) {
    return std::holds_alternative<Report>(entry.second);
  }));
}

// Why one site's report is missing.
std::string Explain(const SiteStatus& status, Duration deadline) {
  return std::visit(
      Overloaded{
          [](const Report&) { return std::string("reported"); },
          [](const Dropped&) { return std::string("dropped (connection lost)"); },
          [](const Refusal& refusal) {
            return "refused (" + refusal.code + ": " + refusal.message + ")";
          },
          [&](const Pending&) { return "did not report within " + FormatDuration(deadline); },
          [&](const Straggler&) { return "did not report within " + FormatDuration(deadline); },
      },
      status);
}

}  // namespace

Duration ReconnectGrace(Duration deadline) {
  return std::max(kLeastGrace, deadline / kDeadlineFractionOfGrace);
}

StatusOr<Round> Round::Create(RoundKey key, const std::vector<SiteId>& cohort, RoundRules rules,
                              Time now) {
  if (rules.deadline <= Duration::zero()) {
    return InvalidArgument("a round's deadline must be above 0, got " +
                           std::to_string(rules.deadline.count()) + " us");
  }
  Collecting collecting{.report_deadline = now + rules.deadline, .sites = {}};
  for (const SiteId& site : cohort) {
    if (!collecting.sites.emplace(site, Pending{}).second) {
      return InvalidArgument("site " + site.value() + " is twice in the cohort");
    }
  }
  if (cohort.size() < std::max<std::size_t>(rules.min_reports, 1)) {
    return InvalidArgument("a cohort of " + std::to_string(cohort.size()) +
                           " sites cannot give the quorum of " + std::to_string(rules.min_reports) +
                           " reports");
  }
  return Round(key, rules, now, std::move(collecting));
}

Time Round::report_deadline() const {
  const auto* collecting = std::get_if<Collecting>(&state_);
  return collecting != nullptr ? collecting->report_deadline : started_at_ + rules_.deadline;
}

StatusOr<std::vector<RoundAction>> Round::Step(const RoundEvent& event, Time now) {
  CHORALE_ASSIGN_OR_RETURN(
      Transition transition,
      std::visit([&](const auto& state, const auto& e) { return On(state, e, now); }, state_,
                 event));
  state_ = std::move(transition.next);  // The only place the state changes.
  return std::move(transition.actions);
}

// Every pair without a handler of its own.
template <typename State, typename Event>
StatusOr<Round::Transition> Round::On(const State&, const Event&, Time) const {
  if constexpr (std::is_same_v<Event, ReportReceived>) {
    return FailedPrecondition("round " + std::to_string(key_.number.value()) + " is closed");
  }
  return FailedPrecondition("the event has no meaning in this state of round " +
                            std::to_string(key_.number.value()));
}

StatusOr<Round::Transition> Round::On(Collecting state, const ReportReceived& event,
                                      Time now) const {
  CHORALE_ASSIGN_OR_RETURN(const auto site, FindSite(state.sites, event.site));
  if (const auto* held = std::get_if<Report>(&site->second)) {
    return SecondReport(event.site, *held, event.report);
  }
  if (std::holds_alternative<Refusal>(site->second)) {
    return FailedPrecondition("site " + event.site.value() + " has refused this task");
  }
  if (now >= state.report_deadline) {
    return FailedPrecondition("round " + std::to_string(key_.number.value()) + " is closed");
  }
  site->second = event.report;
  return CloseIfDone(std::move(state), now);
}

StatusOr<Round::Transition> Round::On(Collecting state, const TaskRefusal& event, Time now) const {
  CHORALE_ASSIGN_OR_RETURN(const auto site, FindSite(state.sites, event.site));
  if (!std::holds_alternative<Pending>(site->second) &&
      !std::holds_alternative<Dropped>(site->second)) {
    return FailedPrecondition("site " + event.site.value() + " has answered this task already");
  }
  site->second = event.refusal;
  return CloseIfDone(std::move(state), now);
}

StatusOr<Round::Transition> Round::On(Collecting state, const ConnectionLost& event,
                                      Time now) const {
  CHORALE_ASSIGN_OR_RETURN(const auto site, FindSite(state.sites, event.site));
  if (!std::holds_alternative<Pending>(site->second)) {
    return FailedPrecondition("site " + event.site.value() + " is not waited for");
  }
  const Time until = now + ReconnectGrace(rules_.deadline);
  site->second = Dropped{.waited_for_until = std::min(until, state.report_deadline)};
  return CloseIfDone(std::move(state), now);
}

StatusOr<Round::Transition> Round::On(Collecting state, const ConnectionBack& event,
                                      Time now) const {
  CHORALE_ASSIGN_OR_RETURN(const auto site, FindSite(state.sites, event.site));
  if (!std::holds_alternative<Dropped>(site->second) || now >= state.report_deadline) {
    return FailedPrecondition("site " + event.site.value() + " was not dropped from this round");
  }
  site->second = Pending{};
  return Transition{.next = std::move(state), .actions = {AskSite{event.site}}};
}

StatusOr<Round::Transition> Round::On(Collecting state, const DeadlineReached&, Time now) const {
  const std::optional<Time> due = NextDeadline();
  if (!due.has_value() || now < *due) {
    return FailedPrecondition("the deadline of round " + std::to_string(key_.number.value()) +
                              " has not come");
  }
  return CloseIfDone(std::move(state), now);
}

StatusOr<Round::Transition> Round::On(Collecting state, const Paused& event, Time) const {
  if (event.by <= Duration::zero()) return InvalidArgument("a pause must take its time");
  state.report_deadline += event.by;
  for (auto& [site, status] : state.sites) {
    if (auto* dropped = std::get_if<Dropped>(&status)) dropped->waited_for_until += event.by;
  }
  return Transition{.next = std::move(state), .actions = {}};
}

StatusOr<Round::Transition> Round::On(Aggregating state, const ReportReceived& event, Time) const {
  CHORALE_ASSIGN_OR_RETURN(const auto site, FindSite(state.sites, event.site));
  if (const auto* held = std::get_if<Report>(&site->second)) {
    return SecondReport(event.site, *held, event.report);
  }
  return FailedPrecondition("round " + std::to_string(key_.number.value()) + " is closed");
}

StatusOr<Round::Transition> Round::On(Aggregating state, const SumReady&, Time) const {
  return Transition{.next = Published{.sites = std::move(state.sites)}, .actions = {}};
}

StatusOr<Round::Transition> Round::On(Aggregating state, const SumFailed& event, Time) const {
  return Transition{.next = Abandoned{.reason = event.reason, .sites = std::move(state.sites)},
                    .actions = {}};
}

Round::Transition Round::CloseIfDone(Collecting state, Time now) const {
  if (now >= state.report_deadline) return Close(std::move(state));
  const bool waits = std::any_of(state.sites.begin(), state.sites.end(), [&](const auto& entry) {
    const auto* dropped = std::get_if<Dropped>(&entry.second);
    return std::holds_alternative<Pending>(entry.second) ||
           (dropped != nullptr && now < dropped->waited_for_until);
  });
  if (waits) return Transition{.next = std::move(state), .actions = {}};
  return Close(std::move(state));
}

Round::Transition Round::Close(Collecting state) const {
  Transition transition;
  StopSites stop;
  for (auto& [site, status] : state.sites) {
    const bool is_dropped = std::holds_alternative<Dropped>(status);
    if (std::holds_alternative<Pending>(status))
      status = Straggler{};
    else if (!is_dropped)
      continue;
    stop.sites.push_back(site);
  }
  if (!stop.sites.empty()) {
    stop.reason = "round " + std::to_string(key_.number.value()) + " is closed";
    transition.actions.emplace_back(std::move(stop));
  }
  if (NumReports(state.sites) >= rules_.min_reports) {
    transition.next = Aggregating{.sites = std::move(state.sites)};
    transition.actions.emplace_back(SumReports{});
  } else {
    std::string reason = ShortfallReason(state.sites);
    transition.next = Abandoned{.reason = std::move(reason), .sites = std::move(state.sites)};
  }
  return transition;
}

std::string Round::ShortfallReason(const SiteStatuses& sites) const {
  std::string reason = std::to_string(NumReports(sites)) + " of the " +
                       std::to_string(rules_.min_reports) + " reports needed arrived: ";
  bool is_first = true;
  for (const auto& [site, status] : sites) {
    if (std::holds_alternative<Report>(status)) continue;
    reason += (is_first ? "" : ", ") + site.value() + " " + Explain(status, rules_.deadline);
    is_first = false;
  }
  return reason;
}

std::vector<RoundAction> Round::OutstandingActions() const {
  std::vector<RoundAction> actions;
  if (const auto* collecting = std::get_if<Collecting>(&state_)) {
    for (const auto& [site, status] : collecting->sites) {
      if (std::holds_alternative<Pending>(status)) actions.emplace_back(AskSite{site});
    }
  } else if (std::holds_alternative<Aggregating>(state_)) {
    actions.emplace_back(SumReports{});
  }
  return actions;
}

std::optional<Time> Round::NextDeadline() const {
  const auto* collecting = std::get_if<Collecting>(&state_);
  if (collecting == nullptr) return std::nullopt;
  Time last_grace = started_at_;
  for (const auto& [site, status] : collecting->sites) {
    if (std::holds_alternative<Pending>(status)) return collecting->report_deadline;
    if (const auto* dropped = std::get_if<Dropped>(&status)) {
      last_grace = std::max(last_grace, dropped->waited_for_until);
    }
  }
  return last_grace;
}

const SiteStatuses& Round::sites() const {
  return std::visit([](const auto& state) -> const SiteStatuses& { return state.sites; }, state_);
}

std::map<SiteId, Report> Round::Contributors() const {
  std::map<SiteId, Report> contributors;
  for (const auto& [site, status] : sites()) {
    if (const auto* report = std::get_if<Report>(&status)) contributors.emplace(site, *report);
  }
  return contributors;
}

}  // namespace chorale::coordinator
