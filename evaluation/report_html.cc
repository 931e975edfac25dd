#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "core/version.h"
#include "evaluation/report.h"
#include "evaluation/svg.h"
#include "models/model.h"

namespace chorale::evaluation {
namespace {

constexpr Style kLocal{.mark = Mark::kCircle, .color = "#5b6470"};
constexpr Style kFederated{.mark = Mark::kDiamond, .color = "#0b6e69"};
constexpr Style kPrivate{.mark = Mark::kDiamond, .color = "#2f5fa8"};
constexpr Style kPersonalised{.mark = Mark::kTriangle, .color = "#6b4fa0"};
constexpr Style kCentralized{.mark = Mark::kSquare, .color = "#b4540a"};

constexpr std::string_view kHead = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root { color-scheme: light; }
body { margin: 0; background: #f5f7f9; color: #1f2933; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; max-width: 48rem; }
.lead { color: #46505c; }
.card { background: #fff; border: 1px solid #dde2e8; border-radius: 8px; padding: 1rem 1.25rem; margin: .8rem 0; overflow-x: auto; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: .8rem; }
.grid .card { margin: 0; }
.card h3 { font-size: 1rem; margin: 0 0 .4rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #e6eaee; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #c5ccd4; font-weight: 600; }
tbody th { font-weight: 400; }
tr.federated th, tr.federated td { background: #eaf4f3; font-weight: 600; }
.muted { color: #5b6470; }
.caution { border-left: 4px solid #b4540a; }
.plot { width: 100%; height: auto; font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; }
code { font-size: .85em; overflow-wrap: anywhere; }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
</style>
)html";

Style StyleOf(ArmKind kind) {
  switch (kind) {
    case ArmKind::kLocal:
      return kLocal;
    case ArmKind::kFederated:
      return kFederated;
    case ArmKind::kPersonalised:
      return kPersonalised;
    case ArmKind::kPrivate:
      return kPrivate;
    case ArmKind::kCentralized:
      return kCentralized;
  }
  return kLocal;
}

using Cells = std::vector<std::string>;

std::string Row(const Cells& cells, std::string_view css_class = {}) {
  std::string row = css_class.empty() ? "<tr>" : "<tr class=\"" + std::string(css_class) + "\">";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    row += i == 0 ? "<th scope=\"row\">" + EscapeHtml(cells[i]) + "</th>"
                  : "<td>" + EscapeHtml(cells[i]) + "</td>";
  }
  return row + "</tr>\n";
}

std::string TableHead(std::string_view caption, const Cells& cells) {
  std::string head = "<table>\n<caption>" + EscapeHtml(caption) + "</caption>\n<thead><tr>";
  for (const std::string& cell : cells) head += "<th scope=\"col\">" + EscapeHtml(cell) + "</th>";
  return head + "</tr></thead>\n<tbody>\n";
}

std::string Card(const std::string& content, std::string_view extra_class = {}) {
  return "<div class=\"card" + (extra_class.empty() ? "" : " " + std::string(extra_class)) +
         "\">\n" + content + "</div>\n";
}

std::string Rate(std::size_t part, std::size_t whole) {
  if (whole == 0) return "–";
  return FormatNumber(100.0 * static_cast<double>(part) / static_cast<double>(whole), 1) + " %";
}

std::string DataSection(const Comparison& comparison) {
  const std::string_view what = PositivesOf(comparison.target);
  const std::string positives = what == "events" ? "Events" : "Positive";
  Cells head = {"Site", "Training rows"};
  if (!what.empty()) head.push_back(positives);
  head.emplace_back("Test rows");
  if (!what.empty()) head.push_back(positives);
  head.emplace_back("Dropped");
  std::string table = TableHead("Rows of each site", head);
  for (const SiteRows& site : comparison.sites) {
    Cells cells = {site.site, std::to_string(site.train_rows)};
    if (site.train_positives) cells.push_back(Rate(*site.train_positives, site.train_rows));
    cells.push_back(std::to_string(site.test_rows));
    if (site.test_positives) cells.push_back(Rate(*site.test_positives, site.test_rows));
    cells.push_back(std::to_string(site.dropped_rows));
    table += Row(cells);
  }
  return "<h2>Data</h2>\n" + Card(table + "</tbody></table>\n");
}

std::string IdOf(const Measure& measure) {
  std::string id(measure.key);
  std::replace(id.begin(), id.end(), '_', '-');
  return id;
}

std::string ForestCard(const Comparison& comparison, std::size_t index) {
  const Measure& measure = MeasuresOf(comparison.target)[index];
  const std::string title =
      std::string(measure.name) + (measure.is_lower_better ? " (lower is better)" : "");
  std::vector<ForestRow> rows;
  for (const Arm& arm : comparison.arms) {
    rows.push_back(
        {.label = LabelOf(arm), .metric = arm.pooled.metrics[index], .style = StyleOf(arm.kind)});
  }
  return Card("<h3>" + EscapeHtml(title) + "</h3>\n" +
              ForestPlot(IdOf(measure), title + " on the pooled test set", rows));
}

std::string PooledSection(const Comparison& comparison) {
  const std::size_t num_rows =
      comparison.arms.empty() ? 0 : comparison.arms.front().pooled.num_rows;
  Cells head = {"Arm"};
  for (const Measure& measure : MeasuresOf(comparison.target)) head.emplace_back(measure.name);
  head.emplace_back("Optimizer steps");
  head.emplace_back("Examples met");
  std::string table = TableHead(
      "Pooled test set, " + std::to_string(num_rows) + " rows: value [95 % interval]", head);
  std::string forests;
  for (const Arm& arm : comparison.arms) {
    Cells cells = {LabelOf(arm)};
    for (const Metric& metric : arm.pooled.metrics) cells.push_back(FormatMetric(metric, 3));
    cells.push_back(std::to_string(arm.optimizer_steps));
    cells.push_back(std::to_string(arm.examples_processed));
    table += Row(cells, arm.kind == ArmKind::kFederated ? "federated" : "");
  }
  for (std::size_t i = 0; i < MeasuresOf(comparison.target).size(); ++i) {
    forests += ForestCard(comparison, i);
  }
  return "<h2>Local, federated, centralized</h2>\n" + Card(table + "</tbody></table>\n") +
         "<div class=\"grid\">\n" + forests + "</div>\n";
}

std::string SiteTable(const Comparison& comparison, std::size_t index) {
  const SiteGrid grid = GridOf(comparison, index);
  const bool is_site_a_column = grid.corner == "arm";
  Cells head = {is_site_a_column ? "Arm" : "Site"};
  for (std::size_t i = 0; i < grid.columns.size(); ++i) {
    head.push_back(is_site_a_column ? grid.columns[i] + " (" +
                                          std::to_string(comparison.sites[i].test_rows) + ")"
                                    : grid.columns[i]);
  }
  std::string table = TableHead(MeasuresOf(comparison.target)[index].name, head);
  for (const SiteGrid::Row& row : grid.rows) {
    Cells cells = {row.label};
    for (const Metric& metric : row.cells) cells.push_back(FormatMetric(metric, 3));
    table += Row(cells, row.is_federated ? "federated" : "");
  }
  return Card(table + "</tbody></table>\n");
}

std::string CurveCard(const RunRecord& run, v1::MetricKind kind, std::string_view id,
                      const std::string& title) {
  Series train{.label = "training rows", .points = {}, .style = kFederated};
  Series test{.label = "test rows", .points = {}, .style = kCentralized};
  for (const RoundSummary& round : run.rounds) {
    for (const v1::MetricValue& metric : round.metrics) {
      if (metric.kind() != kind) continue;
      (metric.split() == v1::SPLIT_TRAIN ? train : test)
          .points.emplace_back(round.round, metric.value());
    }
  }
  const std::string plot = LinePlot(id, title + " by round", "round", {train, test});
  return plot.empty() ? std::string() : Card("<h3>" + EscapeHtml(title) + "</h3>\n" + plot);
}

std::string RoundsTable(const RunRecord& run) {
  std::string table = TableHead(
      "Rounds", {"Round", "Phase", "Outcome", "Reported", "Seconds", "Bytes down", "Bytes up"});
  for (const RoundSummary& round : run.rounds) {
    table += Row({std::to_string(round.round), round.phase,
                  round.is_published ? "published" : "abandoned: " + round.reason,
                  std::to_string(round.num_reported) + " of " + std::to_string(round.num_asked),
                  FormatNumber(round.seconds, 3), std::to_string(round.bytes_down),
                  std::to_string(round.bytes_up)});
  }
  return table + "</tbody></table>\n";
}

std::string RunSection(const ReportContent& content) {
  const RunRecord& run = *content.run;
  std::string section = "<h2>The federation's run</h2>\n<p>Job <code>" + EscapeHtml(run.job_id) +
                        "</code> of " + EscapeHtml(run.researcher) + ", " + EscapeHtml(run.state) +
                        ".";
  if (const std::optional<RoundSeconds> seconds = SecondsOfRounds(run)) {
    section += " Seconds per round: median " + FormatNumber(seconds->median, 3) + ", longest " +
               FormatNumber(seconds->largest, 3) + ", all rounds " +
               FormatNumber(seconds->total, 2) + ".";
  }
  section +=
      run.model_digest == content.model_digest
          ? " The model judged here is the one it published last.</p>\n"
          : " <strong>The model judged here is not the one it published last.</strong></p>\n";
  const std::string curves =
      CurveCard(run, v1::METRIC_KIND_LOSS, "loss-curve", "Loss of the global model") +
      CurveCard(run, v1::METRIC_KIND_ACCURACY, "accuracy-curve", "Accuracy of the global model") +
      CurveCard(run, v1::METRIC_KIND_AUROC, "auroc-curve", "AUROC of the global model");
  if (!curves.empty()) {
    section +=
        "<p class=\"muted\">Measured by the sites that reported, on the model each round started "
        "from.</p>\n"
        "<div class=\"grid\">\n" +
        curves + "</div>\n";
  }
  std::vector<Bar> bars;
  std::string traffic = TableHead("Weights moved for each site, in bytes",
                                  {"Site", "Rounds asked", "Reported", "Down", "Up"});
  for (const SiteTraffic& site : run.sites) {
    bars.push_back({.label = site.site,
                    .down = static_cast<double>(site.bytes_down),
                    .up = static_cast<double>(site.bytes_up)});
    traffic +=
        Row({site.site, std::to_string(site.rounds_asked), std::to_string(site.rounds_reported),
             std::to_string(site.bytes_down), std::to_string(site.bytes_up)});
  }
  section += Card(TrafficPlot("traffic", "Weights moved for each site", bars) + traffic +
                  "</tbody></table>\n");
  return section + Card(RoundsTable(run));
}

}  // namespace

std::string ToHtml(const ReportContent& content) {
  const Statements statements = StatementsOf(content.job, content.comparison.target);
  const std::string name = EscapeHtml(content.job.name());
  std::string html(kHead);
  html +=
      "<title>" + name + ": local, federated, centralized</title>\n</head>\n<body>\n<main>\n<h1>" +
      name + "</h1>\n<p class=\"lead\">" + EscapeHtml(models::KindName(content.job.model())) +
      " with " + std::to_string(content.num_parameters) + " parameters on dataset " +
      EscapeHtml(content.job.dataset()) + ", " + std::to_string(content.comparison.sites.size()) +
      " sites, " + std::to_string(content.job.rounds().count()) + " rounds, seed " +
      std::to_string(content.job.seed()) + ".</p>\n" +
      Card("<p>" + EscapeHtml(statements.caution) + "</p>\n", "caution");
  html += DataSection(content.comparison) + PooledSection(content.comparison);
  html += "<h2>On each site's own test rows</h2>\n";
  for (std::size_t i = 0; i < MeasuresOf(content.comparison.target).size(); ++i) {
    html += SiteTable(content.comparison, i);
  }
  if (content.run) html += RunSection(content);
  html += "<h2>How to read this</h2>\n";
  if (content.private_run) {
    html += "<p>" + EscapeHtml(PrivacyStatementOf(*content.private_run)) + "</p>\n";
  }
  html += "<p>" + EscapeHtml(statements.budget) + "</p>\n<p>" +
          EscapeHtml(statements.standardization) + "</p>\n<p>" + EscapeHtml(statements.intervals) +
          "</p>\n<p class=\"muted\">Federated weights: <code>" + EscapeHtml(content.model_digest) +
          "</code>. Other arms trained on " + EscapeHtml(content.device) + ". Chorale " +
          Version() + ".</p>\n</main>\n</body>\n</html>\n";
  return html;
}

}  // namespace chorale::evaluation
