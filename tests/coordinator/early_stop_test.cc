#include "coordinator/early_stop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chorale::coordinator {
namespace {

using testing::HasSubstr;

v1::RoundRecord RecordWith(std::uint32_t round, v1::MetricKind kind, double value) {
  v1::RoundRecord record;
  record.set_round(round);
  v1::MetricValue& metric = *record.add_metrics();
  metric.set_kind(kind);
  metric.set_split(v1::SPLIT_TEST);
  metric.set_value(value);
  return record;
}

// The round after which the job ends; 0: none of them.
std::uint32_t EndOf(EarlyStop watch, v1::MetricKind kind, const std::vector<double>& values) {
  std::uint32_t round = 0;
  for (const double value : values) {
    if (!watch.Take(RecordWith(++round, kind, value)).empty()) return round;
  }
  return 0;
}

TEST(EarlyStopTest, EndsAfterSoManyRoundsWithoutASmallerLoss) {
  const EarlyStop watch({.kind = v1::METRIC_KIND_LOSS, .patience = 2});

  EXPECT_EQ(EndOf(watch, v1::METRIC_KIND_LOSS, {3, 2, 1, 0.5, 0.1}), 0u);
  EXPECT_EQ(EndOf(watch, v1::METRIC_KIND_LOSS, {3, 2, 2, 2}), 4u);
  EXPECT_EQ(EndOf(watch, v1::METRIC_KIND_LOSS, {3, 2, 2.5, 1.9, 2, 2.1}), 6u);
}

TEST(EarlyStopTest, EndsAfterSoManyRoundsWithoutALargerAccuracy) {
  const EarlyStop watch({.kind = v1::METRIC_KIND_ACCURACY, .patience = 2});

  EXPECT_EQ(EndOf(watch, v1::METRIC_KIND_ACCURACY, {0.5, 0.6, 0.7, 0.8}), 0u);
  EXPECT_EQ(EndOf(watch, v1::METRIC_KIND_ACCURACY, {0.5, 0.6, 0.59, 0.58}), 4u);
}

TEST(EarlyStopTest, EndsAfterSoManyRoundsWithoutALargerArea) {
  const EarlyStop watch({.kind = v1::METRIC_KIND_AUROC, .patience = 2});
  EXPECT_EQ(EndOf(watch, v1::METRIC_KIND_AUROC, {0.5, 0.6, 0.59, 0.61, 0.6, 0.61}), 6u);
}

TEST(EarlyStopTest, AValueIsBetterByMoreThanTheLeastChange) {
  const EarlyStop watch({.kind = v1::METRIC_KIND_LOSS, .patience = 2, .min_change = 0.5});

  EXPECT_EQ(EndOf(watch, v1::METRIC_KIND_LOSS, {4, 3.75, 3.5}), 3u);
  EXPECT_EQ(EndOf(watch, v1::METRIC_KIND_LOSS, {4, 3.75, 3.25, 3}), 0u);
}

TEST(EarlyStopTest, ARoundWithoutTheMetricCountsForNothing) {
  EarlyStop watch({.kind = v1::METRIC_KIND_LOSS, .patience = 1});
  EXPECT_EQ(watch.Take(RecordWith(1, v1::METRIC_KIND_LOSS, 1)), "");

  EXPECT_EQ(watch.Take(RecordWith(2, v1::METRIC_KIND_ACCURACY, 1)), "");
  EXPECT_NE(watch.Take(RecordWith(3, v1::METRIC_KIND_LOSS, 1)), "");
}

TEST(EarlyStopTest, SaysWhatWasBest) {
  EarlyStop watch({.kind = v1::METRIC_KIND_LOSS, .patience = 2});
  (void)watch.Take(RecordWith(1, v1::METRIC_KIND_LOSS, 0.5));
  (void)watch.Take(RecordWith(2, v1::METRIC_KIND_LOSS, 0.75));

  EXPECT_EQ(watch.Take(RecordWith(3, v1::METRIC_KIND_LOSS, 0.625)),
            "stopped early after round 3: the test loss was best in round 1 (0.5) and no better in "
            "the 2 since");
}

}  // namespace
}  // namespace chorale::coordinator
