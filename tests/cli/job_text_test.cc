#include "cli/job_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/valid_job.h"

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

TEST(JobTextTest, TellsTheClippingNormWhereItAdapts) {
  v1::RoundRecord round;
  EXPECT_EQ(ClippingText(round), "");
  round.set_clipping_norm(0.0412);
  EXPECT_EQ(ClippingText(round), "clipping norm 0.0412");
}

TEST(JobTextTest, LabelsRoundsThatMakeAModelByNumber) {
  EXPECT_EQ(RoundLabel("preparation", 0), "preparation");
  EXPECT_EQ(RoundLabel("training", 3), "3");
  EXPECT_EQ(RoundLabel("newton", 3), "3");
  EXPECT_EQ(RoundLabel("personalization", 4), "personalization");
}

TEST(JobTextTest, TellsTheStatisticsOfColumns) {
  const v1::JobSpec spec = support::ValidJob();
  v1::RoundRecord round;
  v1::ColumnStatistics& age = *round.add_statistics();
  age.set_column("age");
  age.set_count(297);
  age.set_missing(6);
  age.set_mean(54.5421);
  age.set_standard_deviation(9.0497);
  for (const double quantile : {40.0, 48.0, 56.0, 61.0, 68.0}) age.add_quantiles(quantile);
  v1::ColumnStatistics& pain = *round.add_statistics();
  pain.set_column("pain");
  pain.set_count(303);
  for (const std::uint64_t count : {144u, 86u, 73u}) pain.add_level_counts(count);

  EXPECT_EQ(StatisticsText(round, spec),
            "COLUMN  ROWS  MISSING  MEAN    SD      P5  P25  MEDIAN  P75  P95  LEVELS\n"
            "age     297   6        54.542  9.0497  40  48   56      61   68   -\n"
            "pain    303   0        -       -       -   -    -       -    -    "
            "none 144, mild 86, strong 73\n");
}

TEST(JobTextTest, NamesLevelsByPlaceWhereTheSpecificationDoesNotFit) {
  v1::RoundRecord round;
  v1::ColumnStatistics& other = *round.add_statistics();
  other.set_column("other\x1b[2J");
  for (int i = 0; i < 20; ++i) other.add_level_counts(1);

  const std::string text = StatisticsText(round, support::ValidJob());

  EXPECT_THAT(text, testing::HasSubstr("other?[2J"));
  EXPECT_THAT(text, testing::HasSubstr("level 1 1, level 2 1"));
  EXPECT_THAT(text, testing::HasSubstr("and 4 more"));
  EXPECT_EQ(StatisticsText(v1::RoundRecord(), support::ValidJob()), "");
}

}  // namespace
}  // namespace chorale::cli
