#include "coordinator/round_record.h"

#include <map>
#include <utility>
#include <variant>

#include "coordinator/time_codec.h"

namespace chorale::coordinator {
namespace {

v1::SiteProgress ProgressOf(const SiteId& site, const SiteStatus& status) {
  v1::SiteProgress progress;
  progress.set_site(site.value());
  if (std::holds_alternative<Pending>(status)) {
    progress.set_state(v1::SITE_STATE_PENDING);
  } else if (std::holds_alternative<Report>(status)) {
    progress.set_state(v1::SITE_STATE_REPORTED);
  } else if (std::holds_alternative<Dropped>(status)) {
    progress.set_state(v1::SITE_STATE_DROPPED);
    progress.set_reason("connection lost");
  } else if (const auto* refusal = std::get_if<Refusal>(&status)) {
    progress.set_state(v1::SITE_STATE_REFUSED);
    progress.set_reason_code(refusal->code);
    progress.set_reason(refusal->message);
  } else {
    progress.set_state(v1::SITE_STATE_STRAGGLER);
    progress.set_reason("did not report by the deadline");
  }
  return progress;
}

// Means over the contributing sites.
class MetricMeans {
 public:
  void Add(const v1::MetricValue& metric) {
    Sum& sum = sums_[{metric.kind(), metric.split()}];
    sum.weighted += metric.value() * static_cast<double>(metric.num_examples());
    sum.num_examples += metric.num_examples();
  }

  void WriteTo(v1::RoundRecord& record) const {
    for (const auto& [key, sum] : sums_) {
      if (sum.num_examples == 0) continue;
      v1::MetricValue& metric = *record.add_metrics();
      metric.set_kind(key.first);
      metric.set_split(key.second);
      metric.set_value(sum.weighted / static_cast<double>(sum.num_examples));
      metric.set_num_examples(sum.num_examples);
    }
  }

 private:
  struct Sum {
    double weighted = 0;
    std::uint64_t num_examples = 0;
  };
  std::map<std::pair<v1::MetricKind, v1::Split>, Sum> sums_;
};

}  // namespace

const char* NameOf(Phase phase) {
  switch (phase) {
    case Phase::kPreparation:
      return "preparation";
    case Phase::kTraining:
      return "training";
    case Phase::kNewton:
      return "newton";
    case Phase::kPersonalization:
      return "personalization";
  }
  return "unknown";
}

const char* NameOf(RoundStep step) {
  switch (step) {
    case RoundStep::kReport:
      return "report";
    case RoundStep::kAdvertiseKeys:
      return "advertise keys";
    case RoundStep::kShareKeys:
      return "share keys";
    case RoundStep::kAcknowledgeShares:
      return "acknowledge shares";
    case RoundStep::kConsistencyCheck:
      return "consistency check";
    case RoundStep::kUnmasking:
      return "unmasking";
  }
  return "unknown";
}

const char* SlugOf(RoundStep step) {
  switch (step) {
    case RoundStep::kReport:
      return "";
    case RoundStep::kAdvertiseKeys:
      return "advertise-keys";
    case RoundStep::kShareKeys:
      return "share-keys";
    case RoundStep::kAcknowledgeShares:
      return "acknowledge-shares";
    case RoundStep::kConsistencyCheck:
      return "consistency-check";
    case RoundStep::kUnmasking:
      return "unmasking";
  }
  return "unknown";
}

v1::RoundProgress ProgressOf(const Round& round, Phase phase) {
  v1::RoundProgress progress;
  progress.set_step(NameOf(round.key().step));
  progress.set_round(round.key().number.value());
  progress.set_phase(NameOf(phase));
  for (const auto& [site, status] : round.sites()) {
    *progress.add_sites() = ProgressOf(site, status);
  }
  *progress.mutable_report_deadline() = ToProto(round.report_deadline());
  return progress;
}

v1::RoundRecord RecordOf(const RoundOutcome& outcome) {
  v1::RoundRecord record;
  record.set_round(outcome.key.number.value());
  record.set_phase(NameOf(outcome.phase));
  record.set_published(outcome.abandoned_for.empty());
  record.set_reason(outcome.abandoned_for);
  *record.mutable_started_at() = ToProto(outcome.started_at);
  *record.mutable_ended_at() = ToProto(outcome.ended_at);
  record.set_bytes_up(outcome.bytes_up);
  record.set_bytes_down(outcome.bytes_down);
  MetricMeans means;
  for (const auto& [site, status] : outcome.sites) {
    *record.add_sites() = ProgressOf(site, status);
    const auto* report = std::get_if<Report>(&status);
    if (report == nullptr) continue;
    for (const v1::MetricValue& metric : report->metrics) means.Add(metric);
    record.set_num_examples(record.num_examples() + report->num_examples);
    record.set_bytes_up(record.bytes_up() + report->payload.size_bytes);
    record.set_bytes_down(record.bytes_down() + report->bytes_down);
  }
  means.WriteTo(record);
  return record;
}

}  // namespace chorale::coordinator
