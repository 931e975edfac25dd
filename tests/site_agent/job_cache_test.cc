#include "site_agent/job_cache.h"

#include <gtest/gtest.h>

#include "tests/site_agent/fixtures.h"
#include "tests/support/test_pki.h"

namespace chorale::site_agent {
namespace {

class JobCacheTest : public testing::Test {
 protected:
  v1::SignedJob Sign(const v1::JobSpec& spec) const { return jobs::SignJob(spec, ada_); }
  StatusOr<std::shared_ptr<const KnownJob>> Find(const v1::SignedJob& job) {
    return cache_.Find(job, now_);
  }

  support::TestPki pki_;
  identity::Identity ada_ = pki_.Load(v1::PARTY_ROLE_RESEARCHER, "ada");
  Time now_ = SystemClock().WallNow();
  JobCache cache_{ada_.root()};
};

TEST_F(JobCacheTest, WorksOutAJobOnce) {
  const v1::SignedJob job = Sign(MakeJobSpec());

  const auto first = Find(job);
  const auto again = Find(job);

  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ((*first)->verified.researcher.name, "ada");
  EXPECT_EQ((*first)->plan->layout().num_parameters(), 3u);
  EXPECT_EQ(*first, *again);
}

TEST_F(JobCacheTest, AnotherJobIsWorkedOutForItself) {
  const auto first = *Find(Sign(MakeJobSpec()));

  EXPECT_EQ((*Find(Sign(MakeNormSpec())))->plan->layout().num_parameters(), 17u);
  EXPECT_EQ(*Find(Sign(MakeJobSpec())), first);
}

TEST_F(JobCacheTest, AKnownJobWithAnotherSignatureOrAuthorIsNotKnown) {
  const v1::SignedJob job = Sign(MakeJobSpec());
  ASSERT_TRUE(Find(job).ok());

  v1::SignedJob forged = job;
  forged.mutable_signature()->back() ^= 1;
  EXPECT_EQ(Find(forged).status().code(), StatusCode::kPermissionDenied);
  v1::SignedJob claimed = job;
  claimed.set_certificate(pki_.Load(v1::PARTY_ROLE_RESEARCHER, "grace").certificate().pem());
  EXPECT_EQ(Find(claimed).status().code(), StatusCode::kPermissionDenied);
  v1::SignedJob changed = job;
  v1::JobSpec spec = MakeJobSpec();
  spec.set_seed(spec.seed() + 1);
  changed.set_spec(spec.SerializeAsString());
  EXPECT_EQ(Find(changed).status().code(), StatusCode::kPermissionDenied);
}

TEST_F(JobCacheTest, AKnownJobEndsWithItsAuthorsCertificate) {
  const v1::SignedJob job = Sign(MakeJobSpec());
  ASSERT_TRUE(Find(job).ok());

  const Time after = ada_.certificate().fields().not_after + std::chrono::seconds(1);
  EXPECT_EQ(cache_.Find(job, after).status().code(), StatusCode::kUnauthenticated);
  EXPECT_TRUE(Find(job).ok());
}

TEST_F(JobCacheTest, AJobOutlivesItsPlaceInTheCache) {
  v1::JobSpec spec = MakeJobSpec();
  const auto first = *Find(Sign(spec));
  for (std::uint64_t seed = 100; seed < 120; ++seed) {
    spec.set_seed(seed);
    ASSERT_TRUE(Find(Sign(spec)).ok());
  }

  EXPECT_EQ(first->plan->layout().num_parameters(), 3u);
  EXPECT_NE(*Find(Sign(MakeJobSpec())), first);  // Worked out anew.
}

TEST_F(JobCacheTest, AModelWithoutAPlanIsAnError) {
  v1::JobSpec spec = MakeJobSpec();
  spec.mutable_model()->Clear();

  EXPECT_EQ(Find(Sign(spec)).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::site_agent
