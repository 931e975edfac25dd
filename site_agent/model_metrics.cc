#include "site_agent/model_metrics.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace chorale::site_agent {

double MeanLoss(std::span<const float> scores, std::span<const float> targets) {
  constexpr double kSmallest = 1e-7;
  double sum = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double score = std::clamp(double{scores[i]}, kSmallest, 1 - kSmallest);
    const double target = targets[i];
    sum -= target * std::log(score) + (1 - target) * std::log1p(-score);
  }
  return sum / static_cast<double>(scores.size());
}

double AccuracyOf(std::span<const float> scores, std::span<const float> targets) {
  std::size_t num_right = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if ((scores[i] >= 0.5f) == (targets[i] >= 0.5f)) ++num_right;
  }
  return static_cast<double>(num_right) / static_cast<double>(scores.size());
}

StatusOr<std::vector<v1::MetricValue>> EvaluateMetrics(training::LocalTrainer& trainer,
                                                       const v1::ModelSpec& model,
                                                       std::span<const float> parameters,
                                                       const PreparedExamples& examples,
                                                       const ReleaseTerms& terms) {
  std::vector<v1::MetricValue> values;
  std::map<v1::Split, std::vector<float>> scores;  // Each split is predicted once.
  for (const v1::MetricSpec& metric : terms.metrics()) {
    const data::Examples& rows = metric.split() == v1::SPLIT_TRAIN ? examples.train : examples.test;
    if (rows.size() == 0 || rows.size() < terms.min_rows_per_metric()) continue;
    auto found = scores.find(metric.split());
    if (found == scores.end()) {
      CHORALE_ASSIGN_OR_RETURN(std::vector<float> predicted,
                               trainer.Predict(model, parameters, rows));
      if (predicted.size() != rows.size()) return Internal("the trainer scored other rows");
      found = scores.emplace(metric.split(), std::move(predicted)).first;
    }
    v1::MetricValue& value = values.emplace_back();
    value.set_kind(metric.kind());
    value.set_split(metric.split());
    value.set_value(metric.kind() == v1::METRIC_KIND_LOSS
                        ? MeanLoss(found->second, rows.targets)
                        : AccuracyOf(found->second, rows.targets));
    value.set_num_examples(rows.size());
    if (!std::isfinite(value.value())) {
      return FailedPrecondition("a metric of the global model is not finite");
    }
  }
  return values;
}

}  // namespace chorale::site_agent
