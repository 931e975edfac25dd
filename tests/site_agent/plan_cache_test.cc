#include "site_agent/plan_cache.h"

#include <gtest/gtest.h>

#include "tests/site_agent/fixtures.h"

namespace chorale::site_agent {
namespace {

TEST(PlanCacheTest, WorksOutAJobOnce) {
  PlanCache cache;
  const jobs::VerifiedJob job = MakeVerifiedJob(MakeJobSpec());

  const auto first = cache.Find(job);
  const auto again = cache.Find(job);

  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ((*first)->layout().num_parameters(), 3u);
  EXPECT_EQ(*first, *again);
}

TEST(PlanCacheTest, AnotherJobIsAnotherPlan) {
  PlanCache cache;
  const auto first = *cache.Find(MakeVerifiedJob(MakeJobSpec()));

  const auto other = *cache.Find(MakeVerifiedJob(MakeNormSpec()));

  EXPECT_EQ(other->layout().num_parameters(), 17u);
  EXPECT_EQ(*cache.Find(MakeVerifiedJob(MakeJobSpec())), first);
}

TEST(PlanCacheTest, APlanOutlivesItsPlaceInTheCache) {
  PlanCache cache;
  v1::JobSpec spec = MakeJobSpec();
  const auto first = *cache.Find(MakeVerifiedJob(spec));
  for (std::uint64_t seed = 100; seed < 120; ++seed) {
    spec.set_seed(seed);
    ASSERT_TRUE(cache.Find(MakeVerifiedJob(spec)).ok());
  }

  EXPECT_EQ(first->layout().num_parameters(), 3u);
  EXPECT_NE(*cache.Find(MakeVerifiedJob(MakeJobSpec())), first);  // Worked out anew.
}

TEST(PlanCacheTest, AModelWithoutAPlanIsAnError) {
  PlanCache cache;
  v1::JobSpec spec = MakeJobSpec();
  spec.mutable_model()->Clear();

  EXPECT_EQ(cache.Find(MakeVerifiedJob(spec)).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::site_agent
