#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "coordinator/job.h"
#include "coordinator/job_entry.h"
#include "coordinator/job_event_codec.h"
#include "coordinator/manifest.h"
#include "tests/support/valid_job.h"

// The clipping norm of a job whose clipping adapts, from round to round of its machine.
namespace chorale::coordinator {
namespace {

const Time kNow{std::chrono::seconds(1'000'000)};
const std::vector<SiteId> kSites = {SiteId("east"), SiteId("north"), SiteId("south")};
const crypto::BlobId kModel{.size_bytes = 16, .digest = {0xab}};

v1::JobSpec AdaptiveSpec() {
  v1::JobSpec spec = support::PrivateJob();
  spec.mutable_privacy()->set_noise_multiplier(10);
  spec.mutable_privacy()->set_clipping(v1::CLIPPING_ADAPTIVE);
  spec.mutable_privacy()->mutable_adaptive_clipping()->set_initial_norm(0.5);
  spec.mutable_rounds()->set_max_abandoned(2);
  return spec;
}

RoundAggregated Published(std::optional<double> next_norm) {
  return {.result = kModel, .masked = MaskedSums{.session = {5}, .next_clipping_norm = next_norm}};
}

class AdaptiveClippingJobTest : public testing::Test {
 protected:
  AdaptiveClippingJobTest() { Do(JobStarted{kModel}); }
  StatusCode CodeOf(const JobEvent& event) { return job_.Step(event, kNow).status().code(); }
  void Do(const JobEvent& event, Time now = kNow) {
    const auto actions = job_.Step(event, now);
    ASSERT_TRUE(actions.ok()) << actions.status();
    events_.push_back(Encode(event, now));
  }
  // From its cohort to where only the sum is missing.
  void RunRound() {
    Do(CohortSelected{.sites = kSites, .begins_session = true});
    while (true) {
      const RoundKey key = job_.round()->key();
      for (const SiteId& site : kSites) Do(SiteReported{key, site, {.payload = kModel}});
      if (key.step == RoundStep::kUnmasking) return;
      Do(StepDone{key, kSites});
    }
  }
  void PublishRound(double next_norm) {
    RunRound();
    Do(Published(next_norm));
  }

  JobRules rules_ = RulesOf(AdaptiveSpec());
  Job job_{rules_};
  std::vector<v1::JobEvent> events_;
};

TEST_F(AdaptiveClippingJobTest, BeginsWithTheJobsNormAndGoesOnWithThatOfEveryPublishedRound) {
  EXPECT_EQ(job_.clipping_norm(), 0.5);
  PublishRound(0.55);
  EXPECT_EQ(job_.clipping_norm(), 0.55);
  PublishRound(0.52);
  EXPECT_EQ(job_.clipping_norm(), 0.52);
  // A round's record has what its gradients were shortened to.
  ASSERT_EQ(job_.rounds().size(), 2u);
  EXPECT_EQ(job_.rounds()[0].clipping_norm(), 0.5);
  EXPECT_EQ(job_.rounds()[1].clipping_norm(), 0.55);
}

TEST_F(AdaptiveClippingJobTest, ARoundThatIsBegunAgainHasTheSameNorm) {
  PublishRound(0.55);
  RunRound();
  Do(AggregationFailed{"disk full"});
  EXPECT_EQ(job_.clipping_norm(), 0.55);
  EXPECT_EQ(job_.rounds().back().clipping_norm(), 0);
  RunRound();
  Do(SessionLost{"why"});
  EXPECT_EQ(job_.clipping_norm(), 0.55);
}

TEST_F(AdaptiveClippingJobTest, WhatIsStoredGivesTheSameNormAgain) {
  // A third has no end in binary.
  PublishRound(1.0 / 3);
  RunRound();
  Do(AggregationFailed{"disk full"});
  const StatusOr<Job> replayed = Replay(rules_, events_);
  ASSERT_TRUE(replayed.ok()) << replayed.status();
  EXPECT_EQ(replayed->clipping_norm(), 1.0 / 3);
  EXPECT_EQ(replayed->rounds()[0].clipping_norm(), 0.5);
}

TEST_F(AdaptiveClippingJobTest, TakesNoResultWithoutANormThatCanBe) {
  RunRound();
  for (const double wrong : {0.0, -1.0, 1e-7, 1e7, std::nan("")}) {
    EXPECT_EQ(CodeOf(Published(wrong)), StatusCode::kFailedPrecondition) << wrong;
  }
  EXPECT_EQ(CodeOf(Published(std::nullopt)), StatusCode::kFailedPrecondition);
  EXPECT_EQ(job_.clipping_norm(), 0.5);
  EXPECT_EQ(CodeOf(Published(0.5)), StatusCode::kOk);
}

TEST_F(AdaptiveClippingJobTest, AJobWithFixedClippingTakesNone) {
  v1::JobSpec spec = AdaptiveSpec();
  spec.mutable_privacy()->set_clipping(v1::CLIPPING_FLAT);
  job_ = Job(RulesOf(spec));
  Do(JobStarted{kModel});
  RunRound();
  EXPECT_EQ(CodeOf(Published(0.5)), StatusCode::kFailedPrecondition);
  Do(Published(std::nullopt));
  EXPECT_EQ(job_.clipping_norm(), std::nullopt);
  EXPECT_EQ(job_.rounds()[0].clipping_norm(), 0);
}

TEST_F(AdaptiveClippingJobTest, TheManifestHasTheNormOfEveryRound) {
  PublishRound(0.55);
  PublishRound(0.52);
  const v1::JobSpec spec = AdaptiveSpec();
  StoredSubmission submission{.id = JobId("j1"),
                              .researcher = ResearcherId("ada"),
                              .idempotency_key = "key",
                              .envelope = {},
                              .submitted_at = kNow};
  submission.envelope.set_spec(spec.SerializeAsString());
  const StatusOr<JobEntry> entry = MakeEntry(std::move(submission), events_);
  ASSERT_TRUE(entry.ok()) << entry.status();

  const auto manifest = nlohmann::json::parse(MakeManifest(*entry, kModel));

  EXPECT_EQ(manifest["privacy"]["adaptive_clipping"]["initial_norm"], 0.5);
  EXPECT_EQ(manifest["privacy"]["adaptive_clipping"]["count_stddev"], 50);
  EXPECT_EQ(manifest["rounds"][0]["clipping_norm"], 0.5);
  EXPECT_EQ(manifest["rounds"][1]["clipping_norm"], 0.55);
}

}  // namespace
}  // namespace chorale::coordinator
