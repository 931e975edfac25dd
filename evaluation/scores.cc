#include "evaluation/scores.h"

#include <array>

#include "evaluation/metrics.h"

namespace chorale::evaluation {
namespace {

using models::TargetKind;

constexpr Measure kAccuracy{.key = "accuracy",
                            .name = "Accuracy",
                            .heading = "accuracy",
                            .interval = "Wilson for accuracy"};
constexpr Measure kLogLoss{.key = "log_loss",
                           .name = "Log-loss",
                           .heading = "log-loss",
                           .is_lower_better = true,
                           .interval = "normal for log-loss"};
constexpr std::array<Measure, 3> kBinaryMeasures = {
    kAccuracy,
    Measure{.key = "auroc",
            .name = "AUROC",
            .heading = "AUROC",
            .interval = "DeLong on the logit scale for AUROC"},
    kLogLoss};
constexpr std::array<Measure, 3> kClassMeasures = {
    kAccuracy,
    Measure{.key = "auroc",
            .name = "AUROC, each class against the rest",
            .heading = "AUROC",
            .interval = "jackknife on the logit scale for AUROC"},
    kLogLoss};
constexpr std::array<Measure, 3> kNumberMeasures = {
    Measure{.key = "rmse",
            .name = "RMSE",
            .heading = "RMSE",
            .is_lower_better = true,
            .interval = "normal, of the mean square, for RMSE"},
    Measure{.key = "mae",
            .name = "MAE",
            .heading = "MAE",
            .is_lower_better = true,
            .interval = "normal for MAE"},
    Measure{.key = "r2", .name = "R2", .heading = "R2", .interval = "delta method for R2"}};
constexpr std::array<Measure, 1> kSurvivalMeasures = {
    Measure{.key = "c_index",
            .name = "C-index",
            .heading = "C-index",
            .interval = "jackknife on the logit scale for the C-index"}};

// The sooner an event is expected, the larger: the time not lived, over the intervals.
std::vector<float> RisksOf(std::span<const float> hazards, const v1::DiscreteTimeSurvival& loss) {
  const auto num_intervals = static_cast<std::size_t>(loss.interval_ends_size());
  std::vector<float> risks;
  for (std::size_t first = 0; first < hazards.size(); first += num_intervals) {
    double alive = 1;
    double start = 0;
    double time = 0;
    for (std::size_t i = 0; i < num_intervals; ++i) {
      alive *= 1 - static_cast<double>(hazards[first + i]);
      const double end = loss.interval_ends(static_cast<int>(i));
      time += alive * (end - start);
      start = end;
    }
    risks.push_back(static_cast<float>(-time));
  }
  return risks;
}

std::vector<Metric> MetricsOf(const models::GraphPlan& plan, std::span<const float> predictions,
                              std::span<const float> targets) {
  switch (plan.target_kind()) {
    case TargetKind::kBinary:
      return {Accuracy(predictions, targets), Auroc(predictions, targets),
              LogLoss(predictions, targets)};
    case TargetKind::kClass: {
      const auto num_classes = static_cast<std::size_t>(plan.num_outputs());
      return {ClassAccuracy(predictions, targets, num_classes),
              MacroAuroc(predictions, targets, num_classes),
              ClassLogLoss(predictions, targets, num_classes)};
    }
    case TargetKind::kNumber:
      return {RootMeanSquaredError(predictions, targets), MeanAbsoluteError(predictions, targets),
              Determination(predictions, targets)};
    case TargetKind::kSurvival: {
      const v1::Loss& loss = plan.graph().loss();
      if (!loss.has_discrete_survival()) return {Concordance(predictions, targets)};
      return {Concordance(RisksOf(predictions, loss.discrete_survival()), targets)};
    }
    case TargetKind::kMask:
      return {};
  }
  return {};
}

}  // namespace

std::span<const Measure> MeasuresOf(TargetKind kind) {
  switch (kind) {
    case TargetKind::kBinary:
      return kBinaryMeasures;
    case TargetKind::kClass:
      return kClassMeasures;
    case TargetKind::kNumber:
      return kNumberMeasures;
    case TargetKind::kSurvival:
      return kSurvivalMeasures;
    case TargetKind::kMask:
      return {};
  }
  return {};
}

std::string_view NameOf(TargetKind kind) {
  switch (kind) {
    case TargetKind::kBinary:
      return "binary";
    case TargetKind::kClass:
      return "class";
    case TargetKind::kNumber:
      return "number";
    case TargetKind::kSurvival:
      return "survival";
    case TargetKind::kMask:
      return "mask";
  }
  return "unknown";
}

Scores Judge(const models::GraphPlan& plan, std::span<const float> predictions,
             std::span<const float> targets) {
  return {.num_rows = targets.size() / static_cast<std::size_t>(plan.num_targets()),
          .metrics = MetricsOf(plan, predictions, targets)};
}

}  // namespace chorale::evaluation
