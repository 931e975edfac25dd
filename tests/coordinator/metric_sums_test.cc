#include "coordinator/metric_sums.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/parameters.h"
#include "tests/support/temporary_directory.h"

namespace chorale::coordinator {
namespace {

std::vector<v1::MetricSpec> LossAndAccuracy() {
  std::vector<v1::MetricSpec> metrics(2);
  metrics[0].set_kind(v1::METRIC_KIND_LOSS);
  metrics[0].set_split(v1::SPLIT_TEST);
  metrics[1].set_kind(v1::METRIC_KIND_ACCURACY);
  metrics[1].set_split(v1::SPLIT_TEST);
  return metrics;
}

bool IsSound(const std::vector<double>& sums) {
  return CheckMetricSums(AsBytes(std::span<const double>(sums)), LossAndAccuracy()).ok();
}

TEST(MetricSumsTest, TakesWhatAModelCouldSay) {
  EXPECT_TRUE(IsSound({12.5, 10, 7, 10}));
  EXPECT_TRUE(IsSound({-3, 10, 0, 0}));  // A log likelihood; an accuracy that may not leave.
}

TEST(MetricSumsTest, RefusesWhatNoModelSays) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(IsSound({1, 10, 5}));
  EXPECT_FALSE(IsSound({1, 10, 5, 10, 1, 1}));
  EXPECT_FALSE(IsSound({kNan, 10, 5, 10}));
  EXPECT_FALSE(IsSound({1, std::numeric_limits<double>::infinity(), 5, 10}));
  EXPECT_FALSE(IsSound({1, 10.5, 5, 10}));
  EXPECT_FALSE(IsSound({1, -1, 5, 10}));
  EXPECT_FALSE(IsSound({1, 1e13, 5, 10}));
  EXPECT_FALSE(IsSound({1, 0, 5, 10}));
  EXPECT_FALSE(IsSound({1e300, 10, 5, 10}));  // Two such would make the mean infinite.
  EXPECT_FALSE(IsSound({1, 10, 11, 10}));
  EXPECT_FALSE(IsSound({1, 10, -1, 10}));
}

class MetricAverageTest : public testing::Test {
 protected:
  Contribution Report(const std::string& site, const std::vector<double>& sums) {
    const ByteSpan bytes = AsBytes(std::span<const double>(sums));
    PayloadWriter writer = *payloads_->Create(bytes.size());
    EXPECT_TRUE(writer.Append(bytes).ok());
    held_.push_back(*std::move(writer).Commit());
    return {.site = SiteId(site), .payload = held_.back().id(), .num_examples = 1};
  }

  support::TemporaryDirectory directory_{support::Medium::kMemory};
  std::unique_ptr<PayloadStore> payloads_ = *PayloadStore::Open(directory_.path() / "payloads");
  std::vector<HeldPayload> held_;
};

TEST_F(MetricAverageTest, WeighsSitesByTheRowsBehindTheirMetrics) {
  const auto means = AverageMetrics(
      *payloads_, {Report("north", {30, 30, 15, 30}), Report("south", {20, 10, 10, 10})},
      LossAndAccuracy());

  ASSERT_TRUE(means.ok()) << means.status();
  ASSERT_EQ(means->size(), 2u);
  EXPECT_EQ((*means)[0].kind(), v1::METRIC_KIND_LOSS);
  EXPECT_DOUBLE_EQ((*means)[0].value(), 1.25);
  EXPECT_EQ((*means)[0].num_examples(), 40u);
  EXPECT_DOUBLE_EQ((*means)[1].value(), 0.625);
}

TEST_F(MetricAverageTest, LeavesOutWhatNoSiteTold) {
  const auto means =
      AverageMetrics(*payloads_, {Report("north", {0, 0, 15, 30}), Report("south", {0, 0, 0, 0})},
                     LossAndAccuracy());

  ASSERT_TRUE(means.ok()) << means.status();
  ASSERT_EQ(means->size(), 1u);
  EXPECT_EQ((*means)[0].kind(), v1::METRIC_KIND_ACCURACY);
}

TEST_F(MetricAverageTest, RefusesAPayloadOfAnotherSize) {
  EXPECT_EQ(
      AverageMetrics(*payloads_, {Report("north", {1, 1})}, LossAndAccuracy()).status().code(),
      StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::coordinator
