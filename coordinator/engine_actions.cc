#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "coordinator/engine.h"
#include "core/log.h"
#include "core/rpc/chunks.h"
#include "data/data_spec.h"
#include "jobs/job_spec.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "jobs/private_newton.h"

// The engine's actions: what a job's machine asks for, once it is durable.
namespace chorale::coordinator {
namespace {

// In the Euclidean norm, of a step of a noisy logistic regression, whose inputs are about 1: where
// its curvature vanishes noise would make it run away.
constexpr double kMaxLogisticStep = 10;

std::vector<Contribution> ContributionsOf(const std::map<SiteId, Report>& reports) {
  std::vector<Contribution> contributions;
  for (const auto& [site, report] : reports) {
    contributions.push_back({site, report.payload, report.num_examples});
  }
  return contributions;
}

// Of a step of Newton's method: the loss of the step before is comparable with this one's only when
// the same sites reported the same number of rows. That number, or unset where the sites differ.
std::optional<std::uint64_t> ExamplesOfLastStep(const std::vector<v1::RoundRecord>& records,
                                                const std::vector<Contribution>& contributions) {
  const auto last = std::find_if(records.rbegin(), records.rend(),
                                 [](const v1::RoundRecord& record) { return record.published(); });
  if (last == records.rend()) return std::nullopt;
  std::set<SiteId> contributors;
  for (const Contribution& contribution : contributions) contributors.insert(contribution.site);
  for (const v1::SiteProgress& site : last->sites()) {
    if (site.state() != v1::SITE_STATE_REPORTED) continue;
    if (contributors.erase(SiteId(site.site())) == 0) return std::nullopt;
  }
  if (!contributors.empty()) return std::nullopt;
  return last->num_examples();
}

NewtonRules NewtonRulesOf(const v1::JobSpec& spec) {
  const v1::NewtonSpec newton = jobs::WithDefaults(spec.newton());
  return {.l2_penalty = newton.l2_penalty(),
          .damping = newton.damping(),
          .tolerance = newton.tolerance(),
          .has_intercept = !spec.model().has_cox()};
}

// Of a sum over so many sites, in a session of so many.
NoisyNewton NoisyNewtonOf(const JobEntry& entry, std::size_t num_sites, std::uint32_t num_members) {
  const v1::JobSpec& spec = entry.spec;
  const v1::NewtonSpec newton = jobs::WithDefaults(spec.newton());
  const std::uint64_t num_coefficients = entry.layout.num_parameters();
  const std::uint32_t honest =
      jobs::HonestSites(spec, jobs::GroupOf(jobs::GroupRulesOf(spec), num_members));
  // Each site added the share of an honest one.
  const double shares = static_cast<double>(num_sites) / honest;
  NoisyNewton noisy{
      .rules = {.l2_penalty = newton.l2_penalty(),
                .damping = newton.damping(),
                .hessian_deviation = jobs::NewtonDeviationsOf(spec, num_coefficients).hessian *
                                     std::sqrt(std::max(shares, 1.0))},
      .bounds = jobs::NewtonBoundsOf(spec, num_coefficients)};
  if (spec.model().has_logistic_regression()) noisy.rules.max_step = kMaxLogisticStep;
  return noisy;
}

double SecondsOf(const v1::RoundRecord& record) {
  return static_cast<double>(record.ended_at().seconds() - record.started_at().seconds()) +
         1e-9 * (record.ended_at().nanos() - record.started_at().nanos());
}

// Counts alone: what a column's values are is for the researcher, not for a log.
void LogStatistics(const JobEntry& entry, const v1::RoundRecord& record) {
  std::uint64_t missing = 0;
  for (const v1::ColumnStatistics& column : record.statistics()) missing += column.missing();
  log::Info("job.prepared", {{"job", entry.submission.id.value()},
                             {"columns", record.statistics_size()},
                             {"examples", record.num_examples()},
                             {"missing_values", missing}});
}

std::set<SiteId> SitesAsked(const JobEntry& entry) {
  std::set<SiteId> sites = entry.asked;
  for (const v1::RoundRecord& record : entry.machine.rounds()) {
    for (const v1::SiteProgress& site : record.sites()) sites.insert(SiteId(site.site()));
  }
  return sites;
}

const char* EndName(const JobMachineState& state) {
  if (std::holds_alternative<Completed>(state)) return "completed";
  return std::holds_alternative<Failed>(state) ? "failed" : "cancelled";
}

}  // namespace

// ---------------------------------------------------------------------------- actions

void Engine::CarryOut(JobEntry& entry, const JobAction& action) {
  const JobId& id = entry.submission.id;
  if (std::holds_alternative<MakeInitialModel>(action)) {
    if (!entry.is_active || std::exchange(entry.has_work, true)) return;
    MakeModelWork work{.model = entry.spec.model(),
                       .num_inputs = data::NumInputs(entry.spec.data()),
                       .seed = entry.spec.seed(),
                       .uses_newton = entry.spec.has_newton()};
    if (entry.spec.has_initial_model()) {
      if (const auto weights = rpc::FromProto(entry.spec.initial_model().weights()); weights.ok()) {
        work.uploaded = *weights;
      }
    }
    parts_.work.Start({id, std::move(work)});
  } else if (std::holds_alternative<FindCohort>(action)) {
    sites_changed_ = true;
  } else if (const auto* dispatch = std::get_if<Dispatch>(&action)) {
    Send(entry, *dispatch);
  } else if (std::holds_alternative<Aggregate>(action)) {
    StartSumming(entry);
  } else if (const auto* cancel = std::get_if<CancelTasks>(&action)) {
    for (const SiteId& site : cancel->sites) {
      const SiteSession* session = sessions_.FindSite(site);
      if (session == nullptr) continue;
      v1::CoordinatorMessage message;
      message.mutable_cancelled()->set_task_id(TaskIdOf(id, cancel->round, site).value());
      message.mutable_cancelled()->set_reason(cancel->reason);
      session->channel->Send(std::move(message));
    }
  } else if (const auto* close = std::get_if<CloseTasks>(&action)) {
    parts_.tasks.Close(id, close->round);
  } else if (const auto* record = std::get_if<RecordRound>(&action)) {
    LogRound(entry, entry.machine.rounds()[record->index]);
  } else if (std::holds_alternative<Ended>(action)) {
    entry.exchange = nullptr;
    entry.messages = nullptr;
    // What a private job reserved at its sites is free again.
    if (jobs::IsPrivate(entry.spec)) {
      for (const SiteId& site : SitesAsked(entry)) TellEnded(id, site);
    }
    log::Info("job.ended", {{"job", id.value()},
                            {"state", EndName(entry.machine.state())},
                            {"rounds", entry.machine.num_published()},
                            {"reason", SummaryOf(entry).reason()}});
  }
}

void Engine::Send(JobEntry& entry, const Dispatch& dispatch) {
  const Round* round = entry.machine.round();
  const bool is_current = round != nullptr && round->key() == dispatch.round &&
                          std::holds_alternative<Collecting>(round->state());
  if (!is_current) return;
  // After a failed commit the session is lost, which the next commit tells: nothing can be asked.
  if (jobs::IsMasked(entry.spec) && entry.exchange == nullptr) return;
  parts_.tasks.Open(MakeOpenTask(entry, dispatch.site));
  entry.asked.insert(dispatch.site);
  const SiteSession* session = sessions_.FindSite(dispatch.site);
  if (session == nullptr) return;  // Sent when it connects.
  v1::CoordinatorMessage message;
  *message.mutable_task() = MakeTask(entry, dispatch);
  message.mutable_task()->set_state_version(num_events_);
  session->channel->Send(std::move(message));
}

void Engine::StartSumming(JobEntry& entry) {
  const Round* round = entry.machine.round();
  if (round == nullptr || std::exchange(entry.has_work, true)) return;
  if (!jobs::IsMasked(entry.spec)) {
    std::visit(
        [&](auto task) {
          parts_.work.Start({entry.submission.id, std::move(task)});
        },
        SummingWork(entry, ContributionsOf(round->Contributors())));
    return;
  }
  StatusOr<Work> work = StepWork(entry, *round);
  if (work.ok()) return parts_.work.Start(*std::move(work));
  // Told as the worker would, from the mailbox's next turn.
  failed_work_.push_back({entry.submission.id, work.status()});
}

StatusOr<ExchangeWork> Engine::StepWorkOf(const JobEntry& entry, std::shared_ptr<Exchange> exchange,
                                          RoundKey key, const std::map<SiteId, Report>& answers,
                                          Time wall_now) {
  const std::uint32_t num_members = exchange->num_members();
  ExchangeWork work{.exchange = std::move(exchange),
                    .step = key.step,
                    .inputs = {},
                    .opening = {},
                    .wall_now = wall_now};
  for (const auto& [site, report] : answers) {
    work.inputs.push_back({site, report.payload, report.masked_input});
  }
  if (key.step != RoundStep::kAcknowledgeShares) return work;
  CHORALE_ASSIGN_OR_RETURN(const jobs::MaskedLayout layout, MaskedLayoutOf(entry, num_members));
  work.opening = OpeningOf(entry, key.number, layout);
  work.opening.deadline = wall_now + MaskedRoundTime(entry);
  return work;
}

StatusOr<Work> Engine::StepWork(const JobEntry& entry, const Round& round) const {
  if (entry.exchange == nullptr) {
    return FailedPrecondition("the session of secure aggregation is gone");
  }
  CHORALE_ASSIGN_OR_RETURN(
      ExchangeWork exchange,
      StepWorkOf(entry, entry.exchange, round.key(), round.Contributors(), parts_.clock.WallNow()));
  if (round.key().step != RoundStep::kUnmasking) {
    return Work{entry.submission.id, std::move(exchange)};
  }
  CHORALE_ASSIGN_OR_RETURN(jobs::MaskedLayout layout,
                           MaskedLayoutOf(entry, entry.exchange->num_members()));
  std::vector<Contribution> vectors = ContributionsOf(entry.machine.Contributors());
  auto next = SummingWork(entry, vectors);
  return Work{entry.submission.id, UnmaskWork{.exchange = std::move(exchange),
                                              .layout = std::move(layout),
                                              .vectors = std::move(vectors),
                                              .next = std::move(next)}};
}

Engine::Sum Engine::SummingWork(const JobEntry& entry,
                                std::vector<Contribution> contributions) const {
  const Job& machine = entry.machine;
  switch (*machine.phase()) {
    case Phase::kPreparation:
      return PreparationWork{entry.spec, std::move(contributions)};
    case Phase::kTraining:
      break;
    case Phase::kNewton: {
      if (jobs::IsPrivate(entry.spec)) {
        const NoisyNewton noisy =
            NoisyNewtonOf(entry, contributions.size(), entry.exchange->num_members());
        return NewtonWork{.method = noisy,
                          .coefficients = *machine.model(),
                          .state = std::nullopt,
                          .contributions = std::move(contributions)};
      }
      NewtonWork newton{.method = NewtonRulesOf(entry.spec),
                        .coefficients = *machine.model(),
                        .state = machine.server_state(),
                        .contributions = std::move(contributions)};
      const auto examples = ExamplesOfLastStep(machine.rounds(), newton.contributions);
      if (!examples.has_value()) newton.state.reset();
      newton.num_examples_of_state = examples.value_or(0);
      return newton;
    }
    case Phase::kPersonalization: {
      const v1::TrainingSpec& training = entry.spec.training();
      return MetricsWork{{training.metrics().begin(), training.metrics().end()},
                         std::move(contributions)};
    }
  }
  // Of a sample, the server's control variate takes the sample's share of all sites.
  const std::size_t num_sites =
      entry.spec.rounds().cohort_size() == 0 ? 0 : CountWilling(CandidatesFor(entry));
  ServerRuleRequest request{
      .model = *machine.model(),
      .state = machine.server_state(),
      .contributions = std::move(contributions),
      .rule = jobs::WithDefaults(entry.spec.aggregation()),
      .has_control_variates = entry.spec.training().has_scaffold(),
      .cohort_size = static_cast<std::uint32_t>(std::max(machine.cohort_size(), num_sites))};
  return ServerRuleWork{std::move(request)};
}

void Engine::LogRound(const JobEntry& entry, const v1::RoundRecord& record) {
  const double seconds = SecondsOf(record);
  if (record.published()) {
    parts_.metrics.rounds_published.Increment();
    parts_.metrics.round_seconds.Observe(seconds);
    log::Info("round.published", {{"job", entry.submission.id.value()},
                                  {"round", record.round()},
                                  {"sites", record.sites_size()},
                                  {"phase", record.phase()},
                                  {"examples", record.num_examples()},
                                  {"ms", 1e3 * seconds}});
    if (!record.reason().empty()) {
      log::Warning("round.note", {{"job", entry.submission.id.value()},
                                  {"round", record.round()},
                                  {"note", record.reason()}});
    }
    if (record.statistics_size() > 0) LogStatistics(entry, record);
  } else {
    parts_.metrics.rounds_abandoned.Increment();
    log::Warning("round.abandoned", {{"job", entry.submission.id.value()},
                                     {"round", record.round()},
                                     {"reason", record.reason()}});
  }
}

}  // namespace chorale::coordinator
