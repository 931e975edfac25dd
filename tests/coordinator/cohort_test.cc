#include "coordinator/cohort.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace chorale::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const RoundKey kRound{RoundNumber(1), 1};

Candidate Eligible(const std::string& site) {
  return {.site = SiteId(site),
          .is_in_good_standing = true,
          .is_connected = true,
          .offers_dataset = true,
          .has_refused = false,
          .refusal_code = ""};
}

std::vector<Candidate> Many(int count) {
  std::vector<Candidate> candidates;
  for (int i = 0; i < count; ++i) candidates.push_back(Eligible("s" + std::to_string(100 + i)));
  return candidates;
}

std::vector<SiteId> CohortOf(const std::vector<Candidate>& candidates, const CohortRules& rules,
                             RoundKey round = kRound) {
  const Selection selection = SelectCohort(candidates, rules, round);
  const auto* cohort = std::get_if<Cohort>(&selection);
  return cohort == nullptr ? std::vector<SiteId>() : cohort->sites;
}

TEST(CohortTest, TakesEveryEligibleSite) {
  EXPECT_THAT(CohortOf({Eligible("east"), Eligible("north")}, {.min_reports = 2}),
              ElementsAre(SiteId("east"), SiteId("north")));
}

TEST(CohortTest, LeavesOutWhoeverIsNotEligible) {
  std::vector<Candidate> candidates = Many(6);
  candidates[0].is_in_good_standing = false;
  candidates[1].is_connected = false;
  candidates[2].offers_dataset = false;
  candidates[3].has_refused = true;

  EXPECT_THAT(CohortOf(candidates, {.min_reports = 2}),
              ElementsAre(SiteId("s104"), SiteId("s105")));
}

TEST(CohortTest, TakesThoseItPrefersAndNobodyElseWhereAllOfThemCanBeAsked) {
  std::vector<Candidate> candidates = Many(4);
  const CohortRules rules{.min_reports = 2, .preferred = {SiteId("s100"), SiteId("s102")}};

  EXPECT_EQ(CohortOf(candidates, rules), rules.preferred);
  candidates[2].is_connected = false;
  EXPECT_THAT(CohortOf(candidates, rules),
              ElementsAre(SiteId("s100"), SiteId("s101"), SiteId("s103")));
}

TEST(CohortTest, TellsWhatItWaitsFor) {
  std::vector<Candidate> candidates = Many(3);
  candidates[0].is_connected = false;

  const Selection selection = SelectCohort(candidates, {.min_reports = 3}, kRound);

  EXPECT_EQ(std::get<TooFewSites>(selection).reason, "waiting for sites: 2 of 3 connected");
}

TEST(CohortTest, TellsOfSitesWithoutTheDataset) {
  std::vector<Candidate> candidates = Many(2);
  candidates[1].offers_dataset = false;

  const Selection selection = SelectCohort(candidates, {.min_reports = 2}, kRound);

  EXPECT_THAT(std::get<TooFewSites>(selection).reason,
              HasSubstr("1 connected without the dataset"));
}

TEST(CohortTest, SeesThatRefusalsMakeTheQuorumImpossible) {
  std::vector<Candidate> candidates = Many(2);
  candidates[0].has_refused = true;
  candidates[0].refusal_code = "MODEL_NOT_ALLOWED";

  const Selection selection = SelectCohort(candidates, {.min_reports = 2}, kRound);

  EXPECT_THAT(std::get<NeverEnoughSites>(selection).reason,
              HasSubstr("s100 refused (MODEL_NOT_ALLOWED)"));
}

TEST(CohortTest, WaitsWhenTheRosterIsTooSmallAsYet) {
  EXPECT_TRUE(
      std::holds_alternative<TooFewSites>(SelectCohort(Many(1), {.min_reports = 2}, kRound)));
}

TEST(CohortTest, DrawsASortedSampleOfTheSizeAsked) {
  const std::vector<SiteId> cohort =
      CohortOf(Many(20), {.min_reports = 2, .cohort_size = 5, .job_seed = 3});

  EXPECT_EQ(cohort.size(), 5u);
  EXPECT_TRUE(std::is_sorted(cohort.begin(), cohort.end()));
  EXPECT_EQ(std::set<SiteId>(cohort.begin(), cohort.end()).size(), 5u);
}

TEST(CohortTest, DrawsTheSameSampleForTheSameSeedAndRound) {
  const CohortRules rules{.min_reports = 2, .cohort_size = 5, .job_seed = 3};

  EXPECT_EQ(CohortOf(Many(20), rules), CohortOf(Many(20), rules));
}

TEST(CohortTest, DrawsAnotherSampleInAnotherRoundAttemptOrJob) {
  const CohortRules rules{.min_reports = 2, .cohort_size = 5, .job_seed = 3};
  CohortRules other_job = rules;
  other_job.job_seed = 4;
  const std::vector<SiteId> cohort = CohortOf(Many(20), rules);

  EXPECT_NE(CohortOf(Many(20), rules, {RoundNumber(2), 1}), cohort);
  EXPECT_NE(CohortOf(Many(20), rules, {RoundNumber(1), 2}), cohort);
  EXPECT_NE(CohortOf(Many(20), other_job), cohort);
}

// 2000 rounds draw 5 of 20: each site is drawn 500 times on average with standard deviation 19.4.
// Six deviations: a chance below 4e-8 for 20 sites. The seed is fixed, so the outcome is too.
TEST(CohortTest, DrawsEverySiteAboutEquallyOften) {
  std::map<SiteId, int> drawn;
  const CohortRules rules{.min_reports = 2, .cohort_size = 5, .job_seed = 3};
  for (std::uint32_t round = 1; round <= 2000; ++round) {
    for (const SiteId& site : CohortOf(Many(20), rules, {RoundNumber(round), 1})) ++drawn[site];
  }

  EXPECT_EQ(drawn.size(), 20u);
  for (const auto& [site, count] : drawn) EXPECT_NEAR(count, 500, 117) << site.value();
}

// ---------------------------------------------------------------------------- turns

// Whose turn it is in each of `num_rounds` rounds, every site being there.
std::vector<SiteId> Turns(const std::vector<Candidate>& candidates, std::uint64_t seed,
                          int num_rounds) {
  std::vector<SiteId> turns;
  CohortRules rules{.min_reports = 1, .job_seed = seed, .takes_turns = true};
  for (int round = 0; round < num_rounds; ++round) {
    const std::vector<SiteId> cohort = CohortOf(candidates, rules);
    EXPECT_EQ(cohort.size(), 1u);
    turns.push_back(cohort.at(0));
    rules.previous = cohort.at(0);
  }
  return turns;
}

TEST(CohortTest, SitesTakeTurnsInAnOrderThatRepeats) {
  const std::vector<SiteId> turns = Turns(Many(5), 3, 15);

  EXPECT_EQ(std::set<SiteId>(turns.begin(), turns.begin() + 5).size(), 5u);
  for (std::size_t i = 5; i < turns.size(); ++i) EXPECT_EQ(turns[i], turns[i - 5]);
}

TEST(CohortTest, TheSeedDrawsTheOrderOfTurns) {
  EXPECT_EQ(Turns(Many(8), 3, 8), Turns(Many(8), 3, 8));
  EXPECT_NE(Turns(Many(8), 3, 8), Turns(Many(8), 4, 8));
}

TEST(CohortTest, WhoIsAwayIsSkippedAndTheOthersKeepTheirOrder) {
  const std::vector<SiteId> turns = Turns(Many(5), 3, 5);
  std::vector<Candidate> candidates = Many(5);
  for (Candidate& candidate : candidates) candidate.is_connected = candidate.site != turns[1];
  CohortRules rules{.min_reports = 1, .job_seed = 3, .takes_turns = true, .previous = turns[0]};

  EXPECT_THAT(CohortOf(candidates, rules), ElementsAre(turns[2]));
  rules.previous = turns[1];  // Its turn was before it went away.
  EXPECT_THAT(CohortOf(candidates, rules), ElementsAre(turns[2]));
  rules.previous = turns[4];
  EXPECT_THAT(CohortOf(candidates, rules), ElementsAre(turns[0]));
}

TEST(CohortTest, ANewSiteDoesNotMoveTheOrderOfTheOthers) {
  const std::vector<SiteId> few = Turns(Many(5), 3, 5);
  std::vector<SiteId> many = Turns(Many(6), 3, 6);
  std::erase(many, SiteId("s105"));

  EXPECT_EQ(many, few);
}

TEST(CohortTest, CountsWhoWouldTakePart) {
  std::vector<Candidate> candidates = Many(6);
  candidates[0].is_in_good_standing = false;
  candidates[1].is_connected = false;  // May come back.
  candidates[2].offers_dataset = false;
  candidates[3].has_refused = true;

  EXPECT_EQ(CountWilling(candidates), 3u);
}

}  // namespace
}  // namespace chorale::coordinator
