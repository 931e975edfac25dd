#include "cli/job_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chorale::cli {
namespace {

v1::SiteProgress& Add(SiteList& sites, const std::string& name, v1::SiteState state) {
  v1::SiteProgress& site = *sites.Add();
  site.set_site(name);
  site.set_state(state);
  return site;
}

TEST(JobTextTest, CountsTheCohortByState) {
  SiteList sites;
  Add(sites, "a", v1::SITE_STATE_REPORTED);
  Add(sites, "b", v1::SITE_STATE_PENDING);
  Add(sites, "c", v1::SITE_STATE_STRAGGLER);
  Add(sites, "d", v1::SITE_STATE_DROPPED);
  Add(sites, "e", v1::SITE_STATE_REFUSED);

  const SiteCounts counts = CountSites(sites);

  EXPECT_EQ(counts.reported, 1u);
  EXPECT_EQ(counts.waiting, 1u);
  EXPECT_EQ(counts.late, 1u);
  EXPECT_EQ(counts.out, 2u);
}

TEST(JobTextTest, SaysWhyASiteIsOut) {
  SiteList sites;
  Add(sites, "a", v1::SITE_STATE_REPORTED);
  Add(sites, "b", v1::SITE_STATE_STRAGGLER);
  v1::SiteProgress& refused = Add(sites, "c", v1::SITE_STATE_REFUSED);
  refused.set_reason_code("ROUNDS_LIMIT");
  refused.set_reason("too many rounds\x1b[0m");

  EXPECT_THAT(DescribeMissing(sites),
              testing::ElementsAre("b late", "c out: refused, ROUNDS_LIMIT (too many rounds?[0m)"));
}

TEST(JobTextTest, NamesStatesAndSurvivesThoseOfANewerCoordinator) {
  EXPECT_EQ(JobStateName(v1::JOB_STATE_RUNNING), "running");
  EXPECT_EQ(JobStateName(static_cast<v1::JobState>(99)), "unknown");
  EXPECT_TRUE(HasEnded(v1::JOB_STATE_FAILED));
  EXPECT_FALSE(HasEnded(v1::JOB_STATE_QUEUED));
}

TEST(JobTextTest, PrefersTheTrainingLoss) {
  v1::RoundRecord round;
  v1::MetricValue& test = *round.add_metrics();
  test.set_kind(v1::METRIC_KIND_LOSS);
  test.set_split(v1::SPLIT_TEST);
  test.set_value(0.5);
  EXPECT_EQ(LossText(round), "0.5");

  v1::MetricValue& train = *round.add_metrics();
  train = test;
  train.set_split(v1::SPLIT_TRAIN);
  train.set_value(0.41267);

  EXPECT_EQ(LossText(round), "0.413");
}

TEST(JobTextTest, HasNoLossWithoutMetric) {
  v1::RoundRecord round;
  round.add_metrics()->set_kind(v1::METRIC_KIND_ACCURACY);

  EXPECT_EQ(LossText(round), "-");
}

}  // namespace
}  // namespace chorale::cli
