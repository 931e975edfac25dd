#include "site_agent/model_metrics.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace chorale::site_agent {

StatusOr<std::vector<v1::MetricValue>> EvaluateMetrics(const MetricsRequest& request) {
  const auto& [trainer, plan, parameters, examples, terms, cancelled] = request;
  std::vector<v1::MetricValue> values;
  std::map<v1::Split, training::EvaluationResult> results;  // Each split is evaluated once.
  for (const v1::MetricSpec& metric : terms.metrics()) {
    const data::Examples& rows = metric.split() == v1::SPLIT_TRAIN ? examples.train : examples.test;
    if (rows.size() == 0 || rows.size() < terms.min_rows_per_metric()) continue;
    auto found = results.find(metric.split());
    if (found == results.end()) {
      CHORALE_ASSIGN_OR_RETURN(const training::EvaluationResult result,
                               trainer.Evaluate(plan, parameters, rows, cancelled));
      found = results.emplace(metric.split(), result).first;
    }
    const training::EvaluationResult& result = found->second;
    if (metric.kind() == v1::METRIC_KIND_ACCURACY && !result.accuracy.has_value()) {
      return InvalidArgument("a metric that the model's loss does not have: accuracy");
    }
    v1::MetricValue& value = values.emplace_back();
    value.set_kind(metric.kind());
    value.set_split(metric.split());
    value.set_value(metric.kind() == v1::METRIC_KIND_LOSS ? result.loss : *result.accuracy);
    value.set_num_examples(rows.size());
    if (!std::isfinite(value.value())) {
      return FailedPrecondition("a metric of the model is not finite");
    }
  }
  return values;
}

std::vector<double> ToPairs(const std::vector<v1::MetricValue>& values, const ReleaseTerms& terms) {
  std::vector<double> pairs;
  pairs.reserve(2 * terms.metrics().size());
  for (const v1::MetricSpec& metric : terms.metrics()) {
    const auto found = std::ranges::find_if(values, [&metric](const v1::MetricValue& value) {
      return value.kind() == metric.kind() && value.split() == metric.split();
    });
    const double rows = found == values.end() ? 0 : static_cast<double>(found->num_examples());
    pairs.push_back(found == values.end() ? 0 : found->value() * rows);
    pairs.push_back(rows);
  }
  return pairs;
}

}  // namespace chorale::site_agent
