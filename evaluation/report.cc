#include "evaluation/report.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/storage/file.h"
#include "evaluation/svg.h"
#include "jobs/privacy_spec.h"

namespace chorale::evaluation {
namespace {

// Columns of text; the first is flush left, the others right.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

  std::string Render() const {
    std::vector<std::size_t> widths(rows_.front().size());
    for (const auto& row : rows_) {
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string text;
    for (const auto& row : rows_) {
      std::string line = "  ";
      for (std::size_t i = 0; i < row.size(); ++i) {
        const std::string padding(widths[i] - row[i].size(), ' ');
        line += (i == 0 ? row[i] + padding : "  " + padding + row[i]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + "\n";
    }
    return text;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

// `sentence` in lines of at most 98 columns.
std::string Wrap(const std::string& sentence) {
  constexpr std::size_t kColumns = 98;
  std::string text;
  std::string line;
  std::istringstream words(sentence);
  for (std::string word; words >> word;) {
    if (!line.empty() && line.size() + 1 + word.size() > kColumns) {
      text += line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return text + line + "\n";
}

std::string Indent(const std::string& lines) {
  std::string text;
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) text += "  " + line + "\n";
  return text;
}

std::string Share(std::size_t part, std::size_t whole) {
  if (whole == 0) return "-";
  return FormatNumber(100.0 * static_cast<double>(part) / static_cast<double>(whole), 1) + " %";
}

// Of sites with a count of rows that had it: "45.7 %".
std::string ShareOf(const std::optional<std::size_t>& part, std::size_t whole) {
  return part ? Share(*part, whole) : "-";
}

std::string DataTable(const Comparison& comparison) {
  const std::string_view what = PositivesOf(comparison.target);
  std::vector<std::string> header = {"site", "train rows"};
  if (!what.empty()) header.emplace_back(what);
  header.emplace_back("test rows");
  if (!what.empty()) header.emplace_back(what);
  header.emplace_back("dropped");
  TextTable table(std::move(header));
  for (const SiteRows& site : comparison.sites) {
    std::vector<std::string> row = {site.site, std::to_string(site.train_rows)};
    if (!what.empty()) row.push_back(ShareOf(site.train_positives, site.train_rows));
    row.push_back(std::to_string(site.test_rows));
    if (!what.empty()) row.push_back(ShareOf(site.test_positives, site.test_rows));
    row.push_back(std::to_string(site.dropped_rows));
    table.Add(std::move(row));
  }
  return "Rows\n" + table.Render();
}

std::string PooledTable(const Comparison& comparison) {
  const std::size_t num_rows =
      comparison.arms.empty() ? 0 : comparison.arms.front().pooled.num_rows;
  std::vector<std::string> header = {"arm"};
  for (const Measure& measure : MeasuresOf(comparison.target)) header.emplace_back(measure.heading);
  TextTable table(std::move(header));
  for (const Arm& arm : comparison.arms) {
    std::vector<std::string> row = {LabelOf(arm)};
    for (const Metric& metric : arm.pooled.metrics) row.push_back(FormatMetric(metric, 3));
    table.Add(std::move(row));
  }
  return "Pooled test set, " + std::to_string(num_rows) + " rows: value [95 % interval]\n" +
         table.Render();
}

// An arm a line and a site a column, or the other way round where there are many sites.
std::string SiteTable(const Comparison& comparison, std::size_t measure) {
  const SiteGrid grid = GridOf(comparison, measure);
  std::vector<std::string> header = {grid.corner};
  header.insert(header.end(), grid.columns.begin(), grid.columns.end());
  TextTable table(std::move(header));
  for (const SiteGrid::Row& line : grid.rows) {
    std::vector<std::string> row = {line.label};
    for (const Metric& metric : line.cells) {
      row.push_back(metric.estimate ? FormatNumber(metric.estimate->value, 3) : "n.e.");
    }
    table.Add(std::move(row));
  }
  std::string reasons;
  for (std::size_t i = 0; i < comparison.sites.size() && !comparison.arms.empty(); ++i) {
    const Metric& value = comparison.arms.front().by_site[i].metrics[measure];
    if (value.estimate) continue;
    reasons +=
        (reasons.empty() ? "" : "; ") + comparison.sites[i].site + ": " + FormatMetric(value, 3);
  }
  return std::string(MeasuresOf(comparison.target)[measure].name) +
         " on each site's own test rows\n" + table.Render() +
         (reasons.empty() ? "" : Indent(Wrap("n.e. " + reasons)));
}

std::string TrafficTable(const RunRecord& run) {
  TextTable table({"site", "rounds asked", "reported", "model bytes down", "update bytes up"});
  for (const SiteTraffic& site : run.sites) {
    table.Add({site.site, std::to_string(site.rounds_asked), std::to_string(site.rounds_reported),
               std::to_string(site.bytes_down), std::to_string(site.bytes_up)});
  }
  std::string text = "Traffic of the federation\n" + table.Render();
  if (const std::optional<RoundSeconds> seconds = SecondsOfRounds(run)) {
    text += "  seconds per round: median " + FormatNumber(seconds->median, 3) + ", longest " +
            FormatNumber(seconds->largest, 3) + "; all rounds " + FormatNumber(seconds->total, 2) +
            "\n";
  }
  return text;
}

}  // namespace

std::optional<RoundSeconds> SecondsOfRounds(const RunRecord& run) {
  std::vector<double> seconds;
  RoundSeconds result;
  for (const RoundSummary& round : run.rounds) {
    result.total += round.seconds;
    if (round.is_published) seconds.push_back(round.seconds);
  }
  if (seconds.empty()) return std::nullopt;
  std::sort(seconds.begin(), seconds.end());
  const std::size_t middle = seconds.size() / 2;
  result.median =
      seconds.size() % 2 == 1 ? seconds[middle] : 0.5 * (seconds[middle - 1] + seconds[middle]);
  result.largest = seconds.back();
  return result;
}

std::string_view PositivesOf(models::TargetKind target) {
  switch (target) {
    case models::TargetKind::kBinary:
      return "positive";
    case models::TargetKind::kSurvival:
      return "events";
    default:
      return {};
  }
}

SiteGrid GridOf(const Comparison& comparison, std::size_t measure) {
  constexpr std::size_t kMostColumns = 8;
  SiteGrid grid;
  if (comparison.sites.size() <= kMostColumns) {
    grid.corner = "arm";
    for (const SiteRows& site : comparison.sites) grid.columns.push_back(site.site);
    for (const Arm& arm : comparison.arms) {
      SiteGrid::Row row{.label = LabelOf(arm), .cells = {}};
      row.is_federated = arm.kind == ArmKind::kFederated;
      for (const Scores& scores : arm.by_site) row.cells.push_back(scores.metrics[measure]);
      grid.rows.push_back(std::move(row));
    }
    return grid;
  }
  // Of the local models, each site's own alone: a column for each would fit nowhere.
  grid.corner = "site";
  grid.columns = {"its own model"};
  for (const Arm& arm : comparison.arms) {
    if (arm.kind != ArmKind::kLocal) grid.columns.push_back(LabelOf(arm));
  }
  for (std::size_t i = 0; i < comparison.sites.size(); ++i) {
    SiteGrid::Row row{.label = comparison.sites[i].site, .cells = {}};
    for (const Arm& arm : comparison.arms) {
      if (arm.kind == ArmKind::kLocal && arm.site != comparison.sites[i].site) continue;
      row.cells.push_back(arm.by_site[i].metrics[measure]);
    }
    grid.rows.push_back(std::move(row));
  }
  return grid;
}

std::string PrivacyStatementOf(const RunRecord& run) {
  const v1::PrivacySpec& privacy = run.spec.privacy();
  std::vector<std::uint32_t> numbers;
  for (const RoundSummary& round : run.rounds) numbers.push_back(round.round);
  const auto statement = jobs::StatementOf(run.spec, jobs::CountRounds(run.spec, numbers));
  if (!statement.ok()) return "The private model has no guarantee that could be computed.";
  const std::string text =
      "The private model (job " + run.job_id + ") guarantees " + privacy::ToText(*statement) +
      "; noise multiplier " + FormatNumber(privacy.noise_multiplier(), 4) +
      ", gradients clipped at norm " + FormatNumber(privacy.max_grad_norm(), 4);
  if (run.spec.has_newton()) return text + ", solved by Newton's method.";
  return text + ", sample rate " + FormatNumber(privacy.sample_rate(), 4) + ".";
}

Statements StatementsOf(const v1::JobSpec& job, models::TargetKind target) {
  Statements statements;
  statements.budget =
      job.has_newton()
          ? std::string(jobs::IsPrivate(job) ? "Every arm but the federated one" : "Every arm") +
                " is solved by Newton's method until nothing is to be gained: the job asks "
                "for a solution, not for a budget."
          : "Equal budgets: every arm runs the rounds that the federation ran, of the job's " +
                std::to_string(job.rounds().count()) +
                ", with its optimizer and batch size. A local arm takes its site's own steps; the "
                "centralized arm meets as many examples a round, counted with repetition, as the "
                "sites of a round together.";
  if (job.has_newton() && job.model().has_cox()) {
    statements.budget +=
        " The federation's Cox model has one stratum a site, the centralized one has one for all "
        "rows.";
  }
  if (job.has_personalization()) {
    statements.budget += " The personalised models trained on from the federated one for " +
                         std::to_string(job.personalization().local_epochs()) +
                         " epochs; each is judged on its own site's rows alone.";
  }
  if (job.training().local_normalization()) {
    statements.budget +=
        " The norm layers of the federation stayed at the sites: the federated arm is judged with "
        "those that the pulled model has.";
  }
  switch (job.data().standardization()) {
    case v1::STANDARDIZATION_NONE:
      statements.standardization = "Numeric features are used as they are.";
      break;
    case v1::STANDARDIZATION_RANGE:
      statements.standardization =
          "Numeric features are brought from their declared ranges onto [-1, 1].";
      break;
    case v1::STANDARDIZATION_FEDERATED_PRIVATE:
      statements.standardization =
          "Numeric features are cut to their declared ranges and standardised by training rows: "
          "the federated model by moments of all sites that were told with noise, the centralized "
          "model by those of all sites without, a local model by those of the site that trained "
          "it.";
      break;
    case v1::STANDARDIZATION_PER_SITE:
      statements.standardization =
          "Numeric features are standardised by training rows: the federated model sees each row "
          "by its own site's moments, a local model by those of the site that trained it, the "
          "centralized model by those of all sites.";
      break;
    default:
      statements.standardization =
          "Numeric features are standardised by training rows: the federated and the centralized "
          "model by the moments "
          "of all sites, a local model by those of the site that trained it.";
  }
  std::string kinds;
  for (const Measure& measure : MeasuresOf(target)) {
    kinds += (kinds.empty() ? "" : ", ") + std::string(measure.interval);
  }
  statements.intervals = "Intervals are 95 %: " + kinds +
                         ". They speak of the test rows alone, not of other seeds or splits.";
  statements.caution =
      "This comparison read every site's rows in one place. Only an evaluator who may hold them "
      "all (public or synthetic "
      "data, a trusted environment) can make it; a federation needs no such place.";
  return statements;
}

std::string ToText(const ReportContent& content) {
  const Statements statements = StatementsOf(content.job, content.comparison.target);
  std::string text = DataTable(content.comparison) + "\n" + PooledTable(content.comparison) + "\n";
  for (std::size_t i = 0; i < MeasuresOf(content.comparison.target).size(); ++i) {
    text += SiteTable(content.comparison, i) + "\n";
  }
  if (content.run) text += TrafficTable(*content.run) + "\n";
  if (content.private_run) text += Wrap(PrivacyStatementOf(*content.private_run));
  return text + Wrap(statements.budget) + Wrap(statements.standardization) +
         Wrap(statements.intervals) + Wrap(statements.caution);
}

Status CheckSameJob(const RunRecord& run, const v1::JobSpec& job) {
  // The tool that submitted the job described the initial weights to the federation.
  v1::JobSpec ran = run.spec;
  v1::JobSpec given = job;
  if (ran.has_initial_model()) ran.mutable_initial_model()->clear_weights();
  if (given.has_initial_model()) given.mutable_initial_model()->clear_weights();
  // And filled in the noise.
  if (ran.has_privacy() && given.privacy().noise_multiplier() == 0) {
    ran.mutable_privacy()->clear_noise_multiplier();
  }
  if (google::protobuf::util::MessageDifferencer::Equals(ran, given)) return OkStatus();
  return InvalidArgument(
      "the run record is of job " + run.job_id +
      ", whose specification differs from the job file; give the job file it was submitted with");
}

Status WriteReport(const ReportContent& content, const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Unavailable(directory.string() + ": cannot be created: " + error.message());
  CHORALE_RETURN_IF_ERROR(storage::WriteFileAtomically(
      directory / "report.json", AsBytes(ToJson(content)), storage::FileMode::kPublic));
  return storage::WriteFileAtomically(directory / "report.html", AsBytes(ToHtml(content)),
                                      storage::FileMode::kPublic);
}

}  // namespace chorale::evaluation
