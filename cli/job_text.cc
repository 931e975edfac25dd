#include "cli/job_text.h"

#include <array>
#include <cstdio>
#include <sstream>
#include <utility>

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
  const bool makes_model = round > 0 && phase != "personalization";
  return makes_model ? std::to_string(round) : Printable(phase);
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

std::string ClippingText(const v1::RoundRecord& round) {
  return round.clipping_norm() == 0 ? "" : "clipping norm " + FormatNumber(round.clipping_norm());
}

namespace {

constexpr std::size_t kMaxLevelsShown = 16;
constexpr int kNumQuantiles = 5;

std::string StatisticText(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.5g", value);
  return text.data();
}

// "none 120, mild 80": the levels of the feature that this column is, by place where the
// specification does not fit.
std::string LevelsText(const v1::ColumnStatistics& column, const v1::JobSpec& spec) {
  const v1::CategoricalFeature* feature = nullptr;
  for (const v1::FeatureSpec& candidate : spec.data().features()) {
    if (candidate.column() == column.column() && candidate.has_categorical()) {
      feature = &candidate.categorical();
    }
  }
  std::string text;
  for (int i = 0; i < column.level_counts_size(); ++i) {
    if (static_cast<std::size_t>(i) == kMaxLevelsShown) {
      return text + ", and " + std::to_string(column.level_counts_size() - i) + " more";
    }
    const bool is_named = feature != nullptr && i < feature->levels_size();
    text += (text.empty() ? "" : ", ") +
            (is_named ? Printable(feature->levels(i)) : "level " + std::to_string(i + 1)) + " " +
            std::to_string(column.level_counts(i));
  }
  return text;
}

}  // namespace

std::string StatisticsText(const v1::RoundRecord& round, const v1::JobSpec& spec) {
  if (round.statistics_size() == 0) return "";
  Table table(
      {"COLUMN", "ROWS", "MISSING", "MEAN", "SD", "P5", "P25", "MEDIAN", "P75", "P95", "LEVELS"});
  for (const v1::ColumnStatistics& column : round.statistics()) {
    const bool is_numeric = column.level_counts_size() == 0;
    std::vector<std::string> row = {Printable(column.column()), std::to_string(column.count()),
                                    std::to_string(column.missing()),
                                    is_numeric ? StatisticText(column.mean()) : "-",
                                    is_numeric ? StatisticText(column.standard_deviation()) : "-"};
    for (int i = 0; i < kNumQuantiles; ++i) {
      row.push_back(i < column.quantiles_size() ? StatisticText(column.quantiles(i)) : "-");
    }
    row.push_back(is_numeric ? "-" : LevelsText(column, spec));
    table.AddRow(std::move(row));
  }
  std::ostringstream out;
  table.Print(out);
  return out.str();
}

}  // namespace chorale::cli
