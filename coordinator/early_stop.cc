#include "coordinator/early_stop.h"

#include <sstream>

namespace chorale::coordinator {
namespace {

std::string Text(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

const v1::MetricValue* FindMetric(const v1::RoundRecord& record, const EarlyStopRules& rules) {
  for (const v1::MetricValue& metric : record.metrics()) {
    if (metric.kind() == rules.kind && metric.split() == rules.split) return &metric;
  }
  return nullptr;
}

std::string NameOf(const EarlyStopRules& rules) {
  const std::string split = rules.split == v1::SPLIT_TRAIN ? "training " : "test ";
  switch (rules.kind) {
    case v1::METRIC_KIND_ACCURACY:
      return split + "accuracy";
    case v1::METRIC_KIND_AUROC:
      return split + "AUROC";
    default:
      return split + "loss";
  }
}

}  // namespace

std::string EarlyStop::Take(const v1::RoundRecord& record) {
  const v1::MetricValue* metric = FindMetric(record, rules_);
  if (metric == nullptr) return "";
  const double sign = rules_.kind == v1::METRIC_KIND_LOSS ? 1 : -1;
  const bool is_better =
      !best_.has_value() || sign * (*best_ - metric->value()) > rules_.min_change;
  if (is_better) {
    best_ = metric->value();
    best_round_ = record.round();
    rounds_since_ = 0;
    return "";
  }
  if (++rounds_since_ < rules_.patience) return "";
  return "stopped early after round " + std::to_string(record.round()) + ": the " + NameOf(rules_) +
         " was best in round " + std::to_string(best_round_) + " (" + Text(*best_) +
         ") and no better in the " + std::to_string(rounds_since_) + " since";
}

}  // namespace chorale::coordinator
