#include <nlohmann/json.hpp>

#include "core/version.h"
#include "evaluation/report.h"
#include "models/model.h"

namespace chorale::evaluation {
namespace {

using nlohmann::json;

json ToJsonValue(const Metric& metric) {
  if (!metric.estimate) return {{"not_estimable", metric.not_estimable}};
  return {{"value", metric.estimate->value},
          {"lower", metric.estimate->lower},
          {"upper", metric.estimate->upper}};
}

json ToJsonValue(const Scores& scores, models::TargetKind target) {
  json value = {{"rows", scores.num_rows}};
  const std::span<const Measure> measures = MeasuresOf(target);
  for (std::size_t i = 0; i < measures.size(); ++i) {
    value[std::string(measures[i].key)] = ToJsonValue(scores.metrics[i]);
  }
  return value;
}

json SitesValue(const Comparison& comparison) {
  const std::string what =
      comparison.target == models::TargetKind::kSurvival ? "events" : "positives";
  json sites = json::array();
  for (const SiteRows& site : comparison.sites) {
    json value = {{"site", site.site},
                  {"train_rows", site.train_rows},
                  {"test_rows", site.test_rows},
                  {"dropped_rows", site.dropped_rows}};
    if (site.train_positives) value["train_" + what] = *site.train_positives;
    if (site.test_positives) value["test_" + what] = *site.test_positives;
    sites.push_back(std::move(value));
  }
  return sites;
}

json ArmsValue(const Comparison& comparison) {
  json arms = json::array();
  for (const Arm& arm : comparison.arms) {
    json value = {{"arm", NameOf(arm.kind)},
                  {"optimizer_steps", arm.optimizer_steps},
                  {"examples_processed", arm.examples_processed},
                  {"pooled_test", ToJsonValue(arm.pooled, comparison.target)},
                  {"site_tests", json::array()}};
    if (arm.kind == ArmKind::kLocal) value["site"] = arm.site;
    if (arm.kind != ArmKind::kFederated && arm.kind != ArmKind::kPrivate) {
      value["training_seconds"] = std::chrono::duration<double>(arm.training_time).count();
    }
    for (std::size_t i = 0; i < arm.by_site.size(); ++i) {
      json scores = ToJsonValue(arm.by_site[i], comparison.target);
      scores["site"] = comparison.sites[i].site;
      value["site_tests"].push_back(std::move(scores));
    }
    arms.push_back(std::move(value));
  }
  return arms;
}

const char* NameOf(v1::MetricKind kind) {
  switch (kind) {
    case v1::METRIC_KIND_ACCURACY:
      return "accuracy";
    case v1::METRIC_KIND_AUROC:
      return "auroc";
    default:
      return "loss";
  }
}
const char* NameOf(v1::Split split) { return split == v1::SPLIT_TRAIN ? "train" : "test"; }

json RoundsValue(const RunRecord& run) {
  json rounds = json::array();
  for (const RoundSummary& round : run.rounds) {
    json metrics = json::array();
    for (const v1::MetricValue& metric : round.metrics) {
      metrics.push_back({{"kind", NameOf(metric.kind())},
                         {"split", NameOf(metric.split())},
                         {"value", metric.value()},
                         {"rows", metric.num_examples()}});
    }
    rounds.push_back({{"round", round.round},
                      {"phase", round.phase},
                      {"is_published", round.is_published},
                      {"reason", round.reason},
                      {"seconds", round.seconds},
                      {"sites_asked", round.num_asked},
                      {"sites_reported", round.num_reported},
                      {"bytes_down", round.bytes_down},
                      {"bytes_up", round.bytes_up},
                      {"metrics", std::move(metrics)}});
  }
  return rounds;
}

json RunValue(const ReportContent& content) {
  const RunRecord& run = *content.run;
  json traffic = json::array();
  for (const SiteTraffic& site : run.sites) {
    traffic.push_back({{"site", site.site},
                       {"rounds_asked", site.rounds_asked},
                       {"rounds_reported", site.rounds_reported},
                       {"bytes_down", site.bytes_down},
                       {"bytes_up", site.bytes_up}});
  }
  json value = {{"job_id", run.job_id},
                {"researcher", run.researcher},
                {"state", run.state},
                {"published_model_digest", run.model_digest},
                {"is_published_model", run.model_digest == content.model_digest},
                {"rounds", RoundsValue(run)},
                {"sites", std::move(traffic)}};
  if (const std::optional<RoundSeconds> seconds = SecondsOfRounds(run)) {
    value["round_seconds"] = {
        {"median", seconds->median}, {"longest", seconds->largest}, {"total", seconds->total}};
  }
  return value;
}

}  // namespace

std::string ToJson(const ReportContent& content) {
  const Statements statements = StatementsOf(content.job, content.comparison.target);
  json report = {
      {"format", "chorale.report.v1"},
      {"chorale_version", Version()},
      {"job",
       {{"name", content.job.name()},
        {"dataset", content.job.dataset()},
        {"model", models::KindName(content.job.model())},
        {"rounds", content.job.rounds().count()},
        {"seed", content.job.seed()}}},
      {"model", {{"digest", content.model_digest}, {"num_parameters", content.num_parameters}}},
      {"device", content.device},
      {"target", NameOf(content.comparison.target)},
      {"sites", SitesValue(content.comparison)},
      {"arms", ArmsValue(content.comparison)},
      {"statements",
       {{"budget", statements.budget},
        {"standardization", statements.standardization},
        {"intervals", statements.intervals},
        {"caution", statements.caution}}}};
  if (content.private_run)
    report["statements"]["privacy"] = PrivacyStatementOf(*content.private_run);
  if (content.run) report["run"] = RunValue(content);
  // Names come from files; bytes that are not UTF-8 are replaced rather than thrown about.
  return report.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace chorale::evaluation
