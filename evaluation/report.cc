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

std::string Share(std::size_t part, std::size_t whole) {
  if (whole == 0) return "-";
  return FormatNumber(100.0 * static_cast<double>(part) / static_cast<double>(whole), 1) + " %";
}

std::string DataTable(const Comparison& comparison) {
  TextTable table({"site", "train rows", "positive", "test rows", "positive", "dropped"});
  for (const SiteRows& site : comparison.sites) {
    table.Add({site.site, std::to_string(site.train_rows),
               Share(site.train_positives, site.train_rows), std::to_string(site.test_rows),
               Share(site.test_positives, site.test_rows), std::to_string(site.dropped_rows)});
  }
  return "Rows\n" + table.Render();
}

std::string PooledTable(const Comparison& comparison) {
  const std::size_t num_rows =
      comparison.arms.empty() ? 0 : comparison.arms.front().pooled.num_rows;
  TextTable table({"arm", "accuracy", "AUROC", "log-loss"});
  for (const Arm& arm : comparison.arms) {
    table.Add({LabelOf(arm), FormatMetric(arm.pooled.accuracy, 3),
               FormatMetric(arm.pooled.auroc, 3), FormatMetric(arm.pooled.log_loss, 3)});
  }
  return "Pooled test set, " + std::to_string(num_rows) + " rows: value [95 % interval]\n" +
         table.Render();
}

std::string SiteTable(const Comparison& comparison, const std::string& title,
                      Metric Scores::*metric) {
  std::vector<std::string> header = {"arm"};
  for (const SiteRows& site : comparison.sites) header.push_back(site.site);
  TextTable table(std::move(header));
  bool has_gap = false;
  std::string reasons;
  for (const Arm& arm : comparison.arms) {
    std::vector<std::string> row = {LabelOf(arm)};
    for (const Scores& scores : arm.by_site) {
      const Metric& value = scores.*metric;
      row.push_back(value.estimate ? FormatNumber(value.estimate->value, 3) : "n.e.");
    }
    table.Add(std::move(row));
  }
  for (std::size_t i = 0; i < comparison.sites.size() && !comparison.arms.empty(); ++i) {
    const Metric& value = comparison.arms.front().by_site[i].*metric;
    if (value.estimate) continue;
    has_gap = true;
    reasons +=
        (reasons.empty() ? "" : "; ") + comparison.sites[i].site + ": " + FormatMetric(value, 3);
  }
  return title + " on each site's own test rows\n" + table.Render() +
         (has_gap ? "  n.e. " + reasons + "\n" : "");
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

std::string LabelOf(const Arm& arm) {
  return std::string(NameOf(arm.kind)) + (arm.site.empty() ? "" : " " + arm.site);
}

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

Statements StatementsOf(const v1::JobSpec& job) {
  Statements statements;
  statements.budget = "Equal budgets: every arm runs the job's " +
                      std::to_string(job.rounds().count()) +
                      " rounds with its optimizer and batch size. A local arm takes its site's own "
                      "steps; the centralized arm meets as "
                      "many examples a round, counted with repetition, as all sites together.";
  switch (job.data().standardization()) {
    case v1::STANDARDIZATION_NONE:
      statements.standardization = "Numeric features are used as they are.";
      break;
    case v1::STANDARDIZATION_PER_SITE:
      statements.standardization =
          "Numeric features are standardised by training rows: the federated model sees each row "
          "by its own site's "
          "moments, a local model by those of the site that trained it, the centralized model by "
          "those of all sites.";
      break;
    default:
      statements.standardization =
          "Numeric features are standardised by training rows: the federated and the centralized "
          "model by the moments "
          "of all sites, a local model by those of the site that trained it.";
  }
  statements.intervals =
      "Intervals are 95 %: Wilson for accuracy, DeLong on the logit scale for AUROC, normal for "
      "log-loss. They speak of "
      "the test rows alone, not of other seeds or splits.";
  statements.caution =
      "This comparison read every site's rows in one place. Only an evaluator who may hold them "
      "all (public or synthetic "
      "data, a trusted environment) can make it; a federation needs no such place.";
  return statements;
}

std::string ToText(const ReportContent& content) {
  const Statements statements = StatementsOf(content.job);
  std::string text = DataTable(content.comparison) + "\n" + PooledTable(content.comparison) + "\n" +
                     SiteTable(content.comparison, "Accuracy", &Scores::accuracy) + "\n" +
                     SiteTable(content.comparison, "AUROC", &Scores::auroc) + "\n" +
                     SiteTable(content.comparison, "Log-loss", &Scores::log_loss) + "\n";
  if (content.run) text += TrafficTable(*content.run) + "\n";
  return text + Wrap(statements.budget) + Wrap(statements.standardization) +
         Wrap(statements.intervals) + Wrap(statements.caution);
}

Status CheckSameJob(const RunRecord& run, const v1::JobSpec& job) {
  if (google::protobuf::util::MessageDifferencer::Equals(run.spec, job)) return OkStatus();
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
