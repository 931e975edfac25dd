#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/crypto/digest.h"
#include "core/ids.h"
#include "jobs/signed_job.h"
#include "models/graph.h"
#include "site_agent/reason_codes.h"

// The site's own rules for accepting tasks: pure functions over what the site verified itself. Deny
// by default: one rule must allow every part of a job, and what the coordinator claims beyond the
// signed job is no input.
namespace chorale::site_agent {

// Rows below which a rule without a figure of its own refuses.
inline constexpr std::uint32_t kDefaultMinExamples = 10;

// What leaves a site for a task; proto/chorale/v1/federation.proto has the payloads.
enum class ReportKind {
  kPreparation,  // Sums over columns, float64: data/preparation.h.
  kUpdate,       // float32 [num_parameters], under scaffold [2, num_parameters].
  kNewtonSums,   // Gradient and Hessian, float64: training/newton_sums.h. In a private job whole
                 // numbers on a grid: training/newton_patients.h.
  kPersonalMetrics,  // float64 [num_metrics, 2].
};

// A job that a researcher signed, and what its model comes to (jobs::PlanOf).
struct PlannedJob {
  const jobs::VerifiedJob& job;
  const models::GraphPlan& plan;
};

struct TaskFacts {
  TaskId task_id;
  ReportKind kind = ReportKind::kUpdate;
  std::uint32_t round = 0;  // Of an update.
};

// Counted by the site in its own table.
struct DatasetFacts {
  std::uint64_t num_training_rows = 0;
  std::uint64_t num_test_rows = 0;
  // Whose rows the training rows are. Unknown counts as one: then every step passes over all rows.
  std::uint64_t num_training_patients = 1;
};

class ReleaseTerms;
using Decision = std::variant<ReleaseTerms, Refusal>;

// What may leave the site for one task, fixed before the data are used for it. Only an allowing
// Decide() makes one, and the release guard lets no report pass without one.
class ReleaseTerms {
 public:
  [[nodiscard]] const TaskId& task_id() const { return task_id_; }
  [[nodiscard]] ReportKind kind() const { return kind_; }
  // Numbers in the payload.
  [[nodiscard]] std::uint64_t num_values() const { return num_values_; }
  // Of the job's model: those of them that are an update; the rest is of a control variate.
  [[nodiscard]] std::uint64_t num_parameters() const { return num_parameters_; }
  // What the sums of a preparation are held against.
  [[nodiscard]] const v1::DataSpec& data() const { return data_; }
  [[nodiscard]] const DatasetFacts& dataset() const { return dataset_; }
  // The report is noisy: a sum on a grid, or an update made of such sums. Its number of rows stays
  // here.
  [[nodiscard]] bool is_private() const { return is_private_; }
  // The payload is whole numbers on a grid: a sum of gradients, one of Newton's method, or a
  // preparation.
  [[nodiscard]] bool has_noisy_sum() const { return has_noisy_sum_; }
  // Numbers in the noisy sum of metrics beside it; 0 in rounds that have none.
  [[nodiscard]] std::uint64_t num_metric_sums() const { return num_metric_sums_; }
  // What leaves is a masked vector and nothing in the clear.
  [[nodiscard]] bool is_masked() const { return is_masked_; }
  // Asked for by the job and allowed by the rule: beside an update, or as the payload of a
  // personalization.
  [[nodiscard]] const std::vector<v1::MetricSpec>& metrics() const { return metrics_; }
  // A metric over fewer rows says too much about one of them.
  [[nodiscard]] std::uint64_t min_rows_per_metric() const { return min_rows_per_metric_; }

 private:
  friend Decision Decide(const PlannedJob& job, const TaskFacts& task,
                         const v1::PolicyConfig& policy, const DatasetFacts& dataset);
  ReleaseTerms() = default;
  TaskId task_id_;
  ReportKind kind_ = ReportKind::kUpdate;
  std::uint64_t num_values_ = 0;
  std::uint64_t num_parameters_ = 0;
  v1::DataSpec data_;
  DatasetFacts dataset_;
  std::vector<v1::MetricSpec> metrics_;
  std::uint64_t min_rows_per_metric_ = 0;
  bool is_masked_ = false;
  bool is_private_ = false;
  bool has_noisy_sum_ = false;
  std::uint64_t num_metric_sums_ = 0;
};

// The whole decision. A refusal names the part that the closest rule lacks: the one part if only
// one is lacking; else the first part that no rule allows; else that no rule allows all of them
// together.
//
// A rule's `models` allow a model of the zoo by its name, and any model by the digest of its graph.
// A graph has no name: only its digest allows it.
[[nodiscard]] Decision Decide(const PlannedJob& job, const TaskFacts& task,
                              const v1::PolicyConfig& policy, const DatasetFacts& dataset);

// The same rules as far as they need no row of the table: asked first, so that nobody without a
// rule makes the site read its data. Refuses only what Decide() would refuse for every table.
[[nodiscard]] std::optional<Refusal> RefusalBeforeData(const PlannedJob& job,
                                                       const v1::PolicyConfig& policy);

// Names of the zoo, as rules may list them: "logistic_regression", "mlp", ...
[[nodiscard]] std::vector<std::string> ZooNames();

// Passes over the rows of so many patients that the training takes, rounded up: batches are drawn
// over patients. REQUIRES: num_patients > 0.
[[nodiscard]] std::uint64_t LocalEpochsOf(const v1::TrainingSpec& training,
                                          std::uint64_t num_patients);

}  // namespace chorale::site_agent
