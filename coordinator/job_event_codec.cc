#include "coordinator/job_event_codec.h"

#include <string>
#include <utility>
#include <variant>

#include "coordinator/time_codec.h"
#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/rpc/chunks.h"

namespace chorale::coordinator {
namespace {

constexpr std::int64_t kMaxInterruptedUs = 4'000'000'000'000'000;  // Over a century.
constexpr std::int64_t kMaxTimeUs = 253'402'300'800'000'000;       // The end of the year 9999.

void Write(const JobStarted& event, v1::JobEvent& out) {
  *out.mutable_started()->mutable_initial_model() = rpc::ToProto(event.initial_model);
}
void Write(const StartFailed& event, v1::JobEvent& out) {
  out.mutable_start_failed()->set_reason(event.reason);
}
void Write(const CohortSelected& event, v1::JobEvent& out) {
  v1::CohortSelected& cohort = *out.mutable_cohort_selected();
  for (const SiteId& site : event.sites) cohort.add_sites(site.value());
  cohort.set_begins_session(event.begins_session);
  cohort.set_wall_us(ToMicros(event.wall_time));
  if (event.manifest.has_value()) *cohort.mutable_manifest() = rpc::ToProto(*event.manifest);
}
void Write(const NoCohort& event, v1::JobEvent& out) {
  out.mutable_no_cohort()->set_reason(event.reason);
}
void Write(const QuorumImpossible& event, v1::JobEvent& out) {
  out.mutable_quorum_impossible()->set_reason(event.reason);
}
void Write(const SiteReported& event, v1::JobEvent& out) {
  v1::SiteReported& reported = *out.mutable_site_reported();
  reported.set_site(event.site.value());
  reported.set_round(event.round.number.value());
  reported.set_attempt(event.round.attempt);
  *reported.mutable_payload() = rpc::ToProto(event.report.payload);
  reported.set_num_examples(event.report.num_examples);
  for (const v1::MetricValue& metric : event.report.metrics) *reported.add_metrics() = metric;
  reported.set_bytes_down(event.report.bytes_down);
  reported.set_step(static_cast<std::uint32_t>(event.round.step));
  reported.set_masked_input(event.report.masked_input);
}
void Write(const SiteRefused& event, v1::JobEvent& out) {
  v1::SiteRefusedTask& refused = *out.mutable_site_refused();
  refused.set_site(event.site.value());
  refused.set_round(event.round.number.value());
  refused.set_attempt(event.round.attempt);
  refused.set_step(static_cast<std::uint32_t>(event.round.step));
  refused.set_code(event.refusal.code);
  refused.set_message(event.refusal.message);
}
void Write(const SiteDropped& event, v1::JobEvent& out) {
  out.mutable_site_dropped()->set_site(event.site.value());
}
void Write(const SiteReturned& event, v1::JobEvent& out) {
  out.mutable_site_returned()->set_site(event.site.value());
}
void Write(const DeadlinePassed&, v1::JobEvent& out) { out.mutable_deadline_passed(); }
void Write(const RoundAggregated& event, v1::JobEvent& out) {
  v1::RoundAggregated& aggregated = *out.mutable_aggregated();
  if (const auto* model = std::get_if<crypto::BlobId>(&event.result)) {
    *aggregated.mutable_model() = rpc::ToProto(*model);
  } else if (const auto* metrics = std::get_if<RoundMetrics>(&event.result)) {
    aggregated.mutable_metrics()->mutable_metrics()->Assign(metrics->begin(), metrics->end());
  } else {
    const auto& preparation = std::get<Preparation>(event.result);
    v1::MomentsResult& result = *aggregated.mutable_moments();
    result.mutable_moments()->Assign(preparation.moments.begin(), preparation.moments.end());
    result.mutable_statistics()->Assign(preparation.statistics.begin(),
                                        preparation.statistics.end());
  }
  if (event.server_state.has_value()) {
    *aggregated.mutable_server_state() = rpc::ToProto(*event.server_state);
  }
  aggregated.set_converged(event.converged);
  aggregated.set_note(event.note);
  if (event.masked.has_value()) {
    v1::MaskedSums& masked = *aggregated.mutable_masked();
    masked.set_num_examples(event.masked->num_examples);
    masked.mutable_metrics()->Assign(event.masked->metrics.begin(), event.masked->metrics.end());
    masked.set_session(ToString(event.masked->session));
    masked.set_clipping_norm(event.masked->next_clipping_norm.value_or(0));
  }
}
void Write(const AggregationFailed& event, v1::JobEvent& out) {
  out.mutable_aggregation_failed()->set_reason(event.reason);
}
void Write(const CancelRequested& event, v1::JobEvent& out) {
  out.mutable_cancel_requested()->set_researcher(event.by.value());
}
void Write(const StepDone& event, v1::JobEvent& out) {
  v1::StepDone& done = *out.mutable_step_done();
  done.set_round(event.round.number.value());
  done.set_attempt(event.round.attempt);
  done.set_step(static_cast<std::uint32_t>(event.round.step));
  for (const SiteId& site : event.sites) done.add_sites(site.value());
  done.set_wall_us(ToMicros(event.wall_time));
}
void Write(const Interrupted& event, v1::JobEvent& out) {
  out.mutable_interrupted()->set_by_us(event.by.count());
}

void Write(const SessionLost& event, v1::JobEvent& out) {
  out.mutable_session_lost()->set_reason(event.reason);
}

// Of any stored event that names one.
template <typename Event>
StatusOr<RoundKey> KeyOf(const Event& event) {
  if (event.step() > static_cast<std::uint32_t>(RoundStep::kUnmasking)) {
    return DataLoss("a stored event is of no step that this version knows");
  }
  return RoundKey{RoundNumber(event.round()), event.attempt(),
                  static_cast<RoundStep>(event.step())};
}

StatusOr<JobEvent> Read(const v1::SiteReported& reported) {
  CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId payload, rpc::FromProto(reported.payload()));
  CHORALE_ASSIGN_OR_RETURN(const RoundKey round, KeyOf(reported));
  return SiteReported{.round = round,
                      .site = SiteId(reported.site()),
                      .report = {.payload = payload,
                                 .num_examples = reported.num_examples(),
                                 .metrics = {reported.metrics().begin(), reported.metrics().end()},
                                 .bytes_down = reported.bytes_down(),
                                 .masked_input = reported.masked_input()}};
}

StatusOr<JobEvent> Read(const v1::RoundAggregated& aggregated) {
  RoundAggregated event{
      .result = {}, .converged = aggregated.converged(), .note = aggregated.note()};
  if (aggregated.has_server_state()) {
    CHORALE_ASSIGN_OR_RETURN(event.server_state, rpc::FromProto(aggregated.server_state()));
  }
  if (aggregated.has_masked()) {
    const v1::MaskedSums& masked = aggregated.masked();
    event.masked = MaskedSums{.num_examples = masked.num_examples(),
                              .metrics = {masked.metrics().begin(), masked.metrics().end()}};
    CHORALE_ASSIGN_OR_RETURN(event.masked->session,
                             crypto::DigestFromBytes(AsBytes(masked.session())));
    if (masked.clipping_norm() != 0) event.masked->next_clipping_norm = masked.clipping_norm();
  }
  switch (aggregated.result_case()) {
    case v1::RoundAggregated::kModel: {
      CHORALE_ASSIGN_OR_RETURN(event.result, rpc::FromProto(aggregated.model()));
      return event;
    }
    case v1::RoundAggregated::kMoments: {
      const v1::MomentsResult& result = aggregated.moments();
      event.result =
          Preparation{.moments = {result.moments().begin(), result.moments().end()},
                      .statistics = {result.statistics().begin(), result.statistics().end()}};
      return event;
    }
    case v1::RoundAggregated::kMetrics:
      event.result = RoundMetrics(aggregated.metrics().metrics().begin(),
                                  aggregated.metrics().metrics().end());
      return event;
    case v1::RoundAggregated::RESULT_NOT_SET:
      break;
  }
  return DataLoss("a stored aggregate has no result");
}

StatusOr<Time> ReadTime(std::int64_t micros) {
  if (micros >= 0 && micros < kMaxTimeUs) return FromMicros(micros);
  return DataLoss("a time of " + std::to_string(micros) +
                  " us, not between the years 1970 and 9999");
}

StatusOr<JobEvent> Read(const v1::JobEvent& event) {
  switch (event.event_case()) {
    case v1::JobEvent::kStarted: {
      CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId model,
                               rpc::FromProto(event.started().initial_model()));
      return JobStarted{model};
    }
    case v1::JobEvent::kCohortSelected: {
      CohortSelected selected;
      for (const std::string& site : event.cohort_selected().sites()) {
        selected.sites.emplace_back(site);
      }
      selected.begins_session = event.cohort_selected().begins_session();
      CHORALE_ASSIGN_OR_RETURN(selected.wall_time, ReadTime(event.cohort_selected().wall_us()));
      if (event.cohort_selected().has_manifest()) {
        CHORALE_ASSIGN_OR_RETURN(selected.manifest,
                                 rpc::FromProto(event.cohort_selected().manifest()));
      }
      return selected;
    }
    case v1::JobEvent::kNoCohort:
      return NoCohort{event.no_cohort().reason()};
    case v1::JobEvent::kSiteReported:
      return Read(event.site_reported());
    case v1::JobEvent::kSiteRefused: {
      CHORALE_ASSIGN_OR_RETURN(const RoundKey round, KeyOf(event.site_refused()));
      return SiteRefused{.round = round,
                         .site = SiteId(event.site_refused().site()),
                         .refusal = {event.site_refused().code(), event.site_refused().message()}};
    }
    case v1::JobEvent::kSiteDropped:
      return SiteDropped{SiteId(event.site_dropped().site())};
    case v1::JobEvent::kSiteReturned:
      return SiteReturned{SiteId(event.site_returned().site())};
    case v1::JobEvent::kDeadlinePassed:
      return DeadlinePassed{};
    case v1::JobEvent::kAggregated:
      return Read(event.aggregated());
    case v1::JobEvent::kAggregationFailed:
      return AggregationFailed{event.aggregation_failed().reason()};
    case v1::JobEvent::kCancelRequested:
      return CancelRequested{ResearcherId(event.cancel_requested().researcher())};
    case v1::JobEvent::kStartFailed:
      return StartFailed{event.start_failed().reason()};
    case v1::JobEvent::kQuorumImpossible:
      return QuorumImpossible{event.quorum_impossible().reason()};
    case v1::JobEvent::kStepDone: {
      CHORALE_ASSIGN_OR_RETURN(const RoundKey round, KeyOf(event.step_done()));
      CHORALE_ASSIGN_OR_RETURN(const Time wall_time, ReadTime(event.step_done().wall_us()));
      StepDone done{.round = round, .sites = {}, .wall_time = wall_time};
      for (const std::string& site : event.step_done().sites()) done.sites.emplace_back(site);
      return done;
    }
    case v1::JobEvent::kInterrupted:
      if (event.interrupted().by_us() <= 0 || event.interrupted().by_us() > kMaxInterruptedUs) {
        return DataLoss("an interruption of " + std::to_string(event.interrupted().by_us()) +
                        " us");
      }
      return Interrupted{Duration(event.interrupted().by_us())};
    case v1::JobEvent::kSessionLost:
      return SessionLost{event.session_lost().reason()};
    case v1::JobEvent::EVENT_NOT_SET:
      break;
  }
  return DataLoss("a stored event is of no kind that this version knows");
}

}  // namespace

v1::JobEvent Encode(const JobEvent& event, Time time) {
  v1::JobEvent out;
  out.set_time_us(ToMicros(time));
  std::visit([&](const auto& e) { Write(e, out); }, event);
  return out;
}

StatusOr<TimedEvent> Decode(const v1::JobEvent& event) {
  StatusOr<JobEvent> decoded = Read(event);
  if (!decoded.ok()) return DataLoss(MessageOf(decoded.status()));
  CHORALE_ASSIGN_OR_RETURN(const Time time, ReadTime(event.time_us()));
  return TimedEvent{*std::move(decoded), time};
}

StatusOr<Job> Replay(const JobRules& rules, const std::vector<v1::JobEvent>& events) {
  Job job(rules);
  for (std::size_t i = 0; i < events.size(); ++i) {
    CHORALE_ASSIGN_OR_RETURN(const TimedEvent timed, Decode(events[i]));
    if (const auto actions = job.Step(timed.event, timed.time); !actions.ok()) {
      return DataLoss("stored event " + std::to_string(i + 1) + " of " +
                      std::to_string(events.size()) +
                      " does not follow from the ones before it: " + MessageOf(actions.status()));
    }
  }
  return job;
}

}  // namespace chorale::coordinator
