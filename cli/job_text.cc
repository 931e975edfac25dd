#include "cli/job_text.h"

#include "cli/output.h"

namespace chorale::cli {

std::string_view JobStateName(v1::JobState state) {
  switch (state) {
    case v1::JOB_STATE_QUEUED:
      return "queued";
    case v1::JOB_STATE_RUNNING:
      return "running";
    case v1::JOB_STATE_COMPLETED:
      return "completed";
    case v1::JOB_STATE_FAILED:
      return "failed";
    case v1::JOB_STATE_CANCELLED:
      return "cancelled";
    default:
      return "unknown";
  }
}

bool HasEnded(v1::JobState state) {
  return state == v1::JOB_STATE_COMPLETED || state == v1::JOB_STATE_FAILED ||
         state == v1::JOB_STATE_CANCELLED;
}

SiteCounts CountSites(const SiteList& sites) {
  SiteCounts counts;
  for (const v1::SiteProgress& site : sites) {
    switch (site.state()) {
      case v1::SITE_STATE_REPORTED:
        ++counts.reported;
        break;
      case v1::SITE_STATE_PENDING:
        ++counts.waiting;
        break;
      case v1::SITE_STATE_STRAGGLER:
        ++counts.late;
        break;
      default:
        ++counts.out;
    }
  }
  return counts;
}

std::string SiteStateText(const v1::SiteProgress& site) {
  const auto because = [&site](std::string text) {
    if (!site.reason_code().empty()) text += ", " + Printable(site.reason_code());
    if (!site.reason().empty()) text += " (" + Printable(site.reason()) + ")";
    return text;
  };
  switch (site.state()) {
    case v1::SITE_STATE_REPORTED:
      return "in";
    case v1::SITE_STATE_PENDING:
      return "waiting";
    case v1::SITE_STATE_STRAGGLER:
      return because("late");
    case v1::SITE_STATE_DROPPED:
      return because("out: connection lost");
    case v1::SITE_STATE_REFUSED:
      return because("out: refused");
    default:
      return because("out: unknown state");
  }
}

std::vector<std::string> DescribeMissing(const SiteList& sites) {
  std::vector<std::string> missing;
  for (const v1::SiteProgress& site : sites) {
    if (site.state() == v1::SITE_STATE_REPORTED || site.state() == v1::SITE_STATE_PENDING) continue;
    missing.push_back(Printable(site.site()) + " " + SiteStateText(site));
  }
  return missing;
}

std::string RoundLabel(std::string_view phase, std::uint32_t round) {
  return round == 0 ? Printable(phase) : std::to_string(round);
}

std::string LossText(const v1::RoundRecord& round) {
  for (const v1::Split split : {v1::SPLIT_TRAIN, v1::SPLIT_TEST}) {
    for (const v1::MetricValue& metric : round.metrics()) {
      if (metric.kind() == v1::METRIC_KIND_LOSS && metric.split() == split)
        return FormatNumber(metric.value());
    }
  }
  return "-";
}

}  // namespace chorale::cli
