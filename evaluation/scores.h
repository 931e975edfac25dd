#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "evaluation/intervals.h"
#include "models/graph.h"

// Which metrics tell how good a model is, by what its targets are.
namespace chorale::evaluation {

struct Measure {
  std::string_view key;      // "log_loss": in report.json.
  std::string_view name;     // "Log-loss": over a table or plot.
  std::string_view heading;  // "log-loss": over a column.
  bool is_lower_better = false;
  std::string_view interval = {};  // "normal for log-loss": how its interval is made.
};

// In the order of Scores::metrics. Empty for kMask: the pixels of an image are no independent rows,
// and no interval here respects that.
[[nodiscard]] std::span<const Measure> MeasuresOf(models::TargetKind kind);
// "binary", "class", "number", "survival", "mask".
[[nodiscard]] std::string_view NameOf(models::TargetKind kind);

// On one set of test rows.
struct Scores {
  std::size_t num_rows = 0;
  std::vector<Metric> metrics;  // One for each of MeasuresOf.
};

// What the measures say of predictions as training::LocalTrainer::Predict gives them.
//   predictions  [num_rows, plan.num_outputs()]   targets  [num_rows, plan.num_targets()]
// REQUIRES: those sizes; a kind that has measures.
[[nodiscard]] Scores Judge(const models::GraphPlan& plan, std::span<const float> predictions,
                           std::span<const float> targets);

}  // namespace chorale::evaluation
