#include "evaluation/run_record.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "core/bytes.h"
#include "core/storage/file.h"
#include "data/data_spec.h"
#include "data/dataset.h"
#include "jobs/private_preparation.h"

namespace chorale::evaluation {
namespace {

constexpr std::uint64_t kMaxBytes = 64u << 20;

// The parser quotes the file: keep what it quotes from acting on a terminal.
std::string Printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return text;
}

double SecondsBetween(const google::protobuf::Timestamp& start,
                      const google::protobuf::Timestamp& end) {
  return static_cast<double>(end.seconds()) - static_cast<double>(start.seconds()) +
         1e-9 * (static_cast<double>(end.nanos()) - static_cast<double>(start.nanos()));
}

std::string StateName(v1::JobState state) {
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
    default:  // Open enumeration: another version may know more.
      return "unknown";
  }
}

StatusOr<RoundSummary> Summarize(const v1::RoundRecord& record) {
  const std::string where = "round " + std::to_string(record.round());
  RoundSummary round{.round = record.round(),
                     .phase = record.phase(),
                     .is_published = record.published(),
                     .reason = record.reason(),
                     .seconds = SecondsBetween(record.started_at(), record.ended_at()),
                     .bytes_down = record.bytes_down(),
                     .bytes_up = record.bytes_up(),
                     .metrics = {record.metrics().begin(), record.metrics().end()}};
  if (round.seconds < 0) return InvalidArgument(where + " ends before it starts");
  for (const v1::MetricValue& metric : round.metrics) {
    if (!std::isfinite(metric.value())) {
      return InvalidArgument(where + " has a metric that is not finite");
    }
  }
  for (const v1::SiteProgress& site : record.sites()) {
    ++round.num_asked;
    if (site.state() == v1::SITE_STATE_REPORTED) ++round.num_reported;
  }
  return round;
}

bool MakesModel(std::string_view phase) {
  return phase != "preparation" && phase != "personalization";
}

void AddTraffic(const v1::RoundRecord& record, const RoundSummary& round,
                std::map<std::string, SiteTraffic>& sites) {
  for (const v1::SiteProgress& progress : record.sites()) {
    SiteTraffic& site = sites[progress.site()];
    site.site = progress.site();
    ++site.rounds_asked;
    site.bytes_down += round.bytes_down / round.num_asked;
    if (progress.state() != v1::SITE_STATE_REPORTED) continue;
    ++site.rounds_reported;
    site.bytes_up += round.bytes_up / round.num_reported;
  }
}

// As the sites prepared their rows, from the statistics of a preparation.
StatusOr<std::vector<data::Moments>> NoisyMomentsOf(const v1::RoundRecord& record,
                                                    const v1::DataSpec& spec) {
  std::vector<data::Moments> moments;
  for (const v1::FeatureSpec& feature : spec.features()) {
    if (!feature.has_numeric()) continue;
    const auto column = std::ranges::find(record.statistics(), feature.column(),
                                          [](const auto& told) { return told.column(); });
    if (column == record.statistics().end()) {
      return InvalidArgument("the preparation inside the run record lacks a numeric column");
    }
    const bool is_mean = feature.numeric().impute() == v1::IMPUTATION_MEAN;
    moments.push_back(
        {.mean = column->mean(),
         .standard_deviation = column->standard_deviation(),
         .imputed = is_mean ? column->mean() : data::MomentsOf(feature.numeric().range()).imputed});
  }
  CHORALE_RETURN_IF_ERROR(
      Annotate(data::Validate(moments, spec), "the preparation inside the run record"));
  return moments;
}

}  // namespace

StatusOr<RunRecord> ParseRunRecord(std::string_view json) {
  if (json.size() > kMaxBytes) {
    return ResourceExhausted("a run record must be at most 64 MiB, got " +
                             std::to_string(json.size()) + " bytes");
  }
  v1::ShowJobResponse response;
  const auto parsed = google::protobuf::util::JsonStringToMessage(std::string(json), &response);
  if (!parsed.ok()) {
    return InvalidArgument("not the output of `chorale job show --format json`: " +
                           Printable(parsed.ToString()));
  }
  RunRecord run{.job_id = response.job().job_id(),
                .researcher = response.job().researcher(),
                .state = StateName(response.job().state()),
                .spec = {},
                .rounds = {},
                .sites = {},
                .model_digest = {}};
  if (!run.spec.ParseFromString(response.spec())) {
    return InvalidArgument("the specification inside the run record is malformed");
  }
  std::map<std::string, SiteTraffic> sites;
  for (const v1::RoundRecord& record : response.rounds()) {
    CHORALE_ASSIGN_OR_RETURN(RoundSummary round, Summarize(record));
    AddTraffic(record, round, sites);
    if (round.is_published && MakesModel(round.phase)) {
      run.model_digest = ToHex(AsBytes(record.model_digest()));
      ++run.num_published;
    }
    if (round.is_published && round.phase == "preparation" &&
        jobs::HasPrivatePreparation(run.spec)) {
      CHORALE_ASSIGN_OR_RETURN(run.noisy_moments, NoisyMomentsOf(record, run.spec.data()));
    }
    run.rounds.push_back(std::move(round));
  }
  for (auto& [name, site] : sites) run.sites.push_back(std::move(site));
  return run;
}

StatusOr<RunRecord> LoadRunRecord(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(const std::string json, storage::ReadFile(path, kMaxBytes));
  StatusOr<RunRecord> run = ParseRunRecord(json);
  if (!run.ok()) return Annotate(run.status(), path.string());
  return run;
}

}  // namespace chorale::evaluation
