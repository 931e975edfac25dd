#include "core/config/nearest_key.h"

#include <gtest/gtest.h>

#include <vector>

namespace chorale::config {
namespace {

const std::vector<std::string> kKeys = {"count", "min_reports", "cohort_size", "deadline"};

TEST(NearestKeyTest, FindsOneLetterOff) {
  EXPECT_EQ(NearestKey("min_report", kKeys), "min_reports");    // Dropped.
  EXPECT_EQ(NearestKey("min_reportss", kKeys), "min_reports");  // Added.
  EXPECT_EQ(NearestKey("min-reports", kKeys), "min_reports");   // Changed.
  EXPECT_EQ(NearestKey("cuont", kKeys), "count");               // Swapped.
}

TEST(NearestKeyTest, AcceptsAThirdOfTheKeyAsMistakes) {
  EXPECT_EQ(NearestKey("dedlien", kKeys), "deadline");
  EXPECT_EQ(NearestKey("dxdxixex", kKeys), std::nullopt);
}

TEST(NearestKeyTest, FindsNothingWhenNothingIsNear) {
  EXPECT_EQ(NearestKey("epsilon", kKeys), std::nullopt);
  EXPECT_EQ(NearestKey("", kKeys), std::nullopt);
  EXPECT_EQ(NearestKey("count", {}), std::nullopt);
}

TEST(NearestKeyTest, TakesTheFirstOfEquals) {
  const std::vector<std::string> keys = {"cat", "car"};

  EXPECT_EQ(NearestKey("caz", keys), "cat");
}

TEST(NearestKeyTest, DoesNotCompareAbsurdKeys) {
  EXPECT_EQ(NearestKey(std::string(100'000, 'a'), kKeys), std::nullopt);
}

}  // namespace
}  // namespace chorale::config
