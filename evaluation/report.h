#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "evaluation/arms.h"
#include "evaluation/run_record.h"

// The comparison for people and programs. Holds counts, digests and metrics; never a value of a
// row.
namespace chorale::evaluation {

struct ReportContent {
  v1::JobSpec job;
  std::uint64_t num_parameters = 0;
  std::string model_digest;  // Of the federated weights as a blob (core/crypto/blob_digest.h),
                             // lower-case hexadecimal.
  std::string device;        // Where the other arms were trained: "cpu".
  Comparison comparison;
  std::optional<RunRecord> run;  // Without it there are no curves, traffic or round times.
  // Of the job behind the private arm, where there is one: what its model guarantees.
  std::optional<RunRecord> private_run = {};
};

// report.json: {"format": "chorale.report.v1", ...}, keys sorted, indented, one newline at the end.
// A metric is {"value", "lower", "upper"} or {"not_estimable": reason}; which there are follows
// from "target" (scores.h).
[[nodiscard]] std::string ToJson(const ReportContent& content);
// A table for a terminal, at most 100 columns for up to five sites.
[[nodiscard]] std::string ToText(const ReportContent& content);
// One file that needs nothing else: no script, no style sheet, no font, no picture from elsewhere.
[[nodiscard]] std::string ToHtml(const ReportContent& content);

// Writes report.json and report.html into `directory`, which is created if need be.
[[nodiscard]] Status WriteReport(const ReportContent& content,
                                 const std::filesystem::path& directory);

// INVALID_ARGUMENT when the run is of another specification than `job`. The description of initial
// weights and the noise of a private job, which the tool fills in, do not count.
[[nodiscard]] Status CheckSameJob(const RunRecord& run, const v1::JobSpec& job);

// Sentences that every form of the report carries.
struct Statements {
  std::string budget;           // Why the arms are comparable.
  std::string standardization;  // Whose moments each arm uses.
  std::string intervals;        // What the brackets mean.
  std::string caution;          // All rows were in one place.
};
[[nodiscard]] Statements StatementsOf(const v1::JobSpec& job, models::TargetKind target);
// What the model of a private job guarantees, and its noise. Every round that a site was charged
// for counts, published or not.
[[nodiscard]] std::string PrivacyStatementOf(const RunRecord& run);

// What the count beside a site's rows is of: "positive", "events", or empty where there is none.
[[nodiscard]] std::string_view PositivesOf(models::TargetKind target);

// One measure on each site's own test rows: an arm a row and a site a column, or, with over eight
// sites, a site a row, and as columns its own model and the arms that are no site's.
struct SiteGrid {
  struct Row {
    std::string label;
    std::vector<Metric> cells;
    bool is_federated = false;
  };
  std::string corner;
  std::vector<std::string> columns;
  std::vector<Row> rows;
};
// `measure` counts MeasuresOf(comparison.target).
[[nodiscard]] SiteGrid GridOf(const Comparison& comparison, std::size_t measure);

// Median and largest seconds of the published rounds; no value without one.
struct RoundSeconds {
  double median = 0;
  double largest = 0;
  double total = 0;
};
[[nodiscard]] std::optional<RoundSeconds> SecondsOfRounds(const RunRecord& run);

}  // namespace chorale::evaluation
