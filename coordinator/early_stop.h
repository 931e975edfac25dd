#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "chorale/v1/jobs.pb.h"

namespace chorale::coordinator {

struct EarlyStopRules {
  v1::MetricKind kind = v1::METRIC_KIND_LOSS;
  v1::Split split = v1::SPLIT_TEST;
  std::uint32_t patience = 1;  // Rounds that tell the metric, none better; at least 1.
  double min_change = 0;       // A value is better by more than this.
};

// Sees when a metric of a job has stopped getting better: a loss smaller, anything else larger. A
// value that is compared, so the same records give the same answer.
class EarlyStop {
 public:
  explicit EarlyStop(const EarlyStopRules& rules) : rules_(rules) {}

  // Takes the record of the next published training round. Returns why the job ends now; empty: it
  // goes on. A round that no site told the metric of counts for nothing.
  [[nodiscard]] std::string Take(const v1::RoundRecord& record);

 private:
  EarlyStopRules rules_;
  std::optional<double> best_;
  std::uint32_t best_round_ = 0;
  std::uint32_t rounds_since_ = 0;
};

}  // namespace chorale::coordinator
