#include "privacy/audit/canary_scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "core/random.h"
#include "privacy/audit/one_run_bound.h"
#include "privacy/noise/discrete_gaussian.h"

namespace chorale::privacy {
namespace {

using testing::Contains;
using testing::IsEmpty;

constexpr double kSignificance = 1e-3;
constexpr std::uint64_t kNumRuns = 20;
constexpr std::size_t kNumCanaries = 10000;
constexpr std::uint64_t kNumSteps = 30;
constexpr std::uint32_t kNumSites = 2;
constexpr double kContribution = 1000;
constexpr double kNoiseMultiplier = 2.17;

using Sum = std::vector<std::int64_t>;

// What a mechanism that is wrong in one way does. 1 and nothing: a right one.
struct Bug {
  double clip = 1;
  double noise = 1;
  double unnoised_share = 0;  // Of the coordinates.
  // Changes the noise of a step at each site, given that of the steps before.
  std::function<void(std::uint64_t step, std::vector<Sum>& noise, const std::vector<Sum>& before)>
      reuse = {};
};

// The names of the tests that fail in one run.
std::vector<std::string> FailuresOf(const Bug& bug, std::uint64_t seed) {
  SeededRandom random(seed);
  CanaryPlan plan{.is_in = std::vector<std::uint8_t>(kNumCanaries),
                  .sample_rate = 0.25,
                  .contribution = kContribution,
                  .share_variance = std::pow(kNoiseMultiplier * kContribution, 2) / kNumSites,
                  .num_sites = kNumSites};
  for (std::uint8_t& in : plan.is_in) in = static_cast<std::uint8_t>(random.NextBelow(2));
  const DiscreteGaussian gaussian =
      DiscreteGaussian::Create(DyadicOf(plan.share_variance * bug.noise * bug.noise)).value();
  CanaryScores scores = CanaryScores::Create(plan).value();
  std::vector<Sum> before;
  for (std::uint64_t step = 0; step < kNumSteps; ++step) {
    std::vector<Sum> sums(kNumSites, Sum(kNumCanaries));
    for (Sum& sum : sums) {
      gaussian.Draw(random, sum);
      std::fill_n(sum.begin(), static_cast<std::size_t>(bug.unnoised_share * kNumCanaries), 0);
    }
    if (bug.reuse) bug.reuse(step, sums, before);
    before = sums;
    for (std::size_t i = 0; i < kNumCanaries; ++i) {
      if (plan.is_in[i] == 0 || random.NextDouble() >= plan.sample_rate) continue;
      sums[i % kNumSites][i] += static_cast<std::int64_t>(bug.clip * kContribution);
    }
    scores.AddStep(sums);
  }
  std::vector<std::string> failures;
  const std::vector<AuditTest> tests = scores.Tests();
  for (const AuditTest& test : tests) {
    if (test.p_value * static_cast<double>(tests.size()) < kSignificance) {
      failures.push_back(test.name);
    }
  }
  return failures;
}

void ExpectCaught(const Bug& bug, const std::string& by) {
  for (std::uint64_t seed = 1; seed <= kNumRuns; ++seed) {
    EXPECT_THAT(FailuresOf(bug, seed), Contains(by)) << "seed " << seed;
  }
}

TEST(CanaryScoresTest, CorrectCodePassesEveryTime) {
  for (std::uint64_t seed = 1; seed <= kNumRuns; ++seed) {
    EXPECT_THAT(FailuresOf({}, seed), IsEmpty()) << "seed " << seed;
  }
}

TEST(CanaryScoresTest, ClippingToAQuarterMoreIsFound) {
  ExpectCaught({.clip = 1.25}, "canary_shift");
}

TEST(CanaryScoresTest, NoiseThatIsAFifthTooNarrowIsFound) {
  ExpectCaught({.noise = 0.8}, "noise_variance");
}

TEST(CanaryScoresTest, NoiseThatIsMissingOnATenthOfTheCoordinatesIsFound) {
  const Bug bug{.unnoised_share = 0.1};
  ExpectCaught(bug, "coordinate_variance");
  ExpectCaught(bug, "zero_share");
}

TEST(CanaryScoresTest, TheSameNoiseInEveryStepIsFound) {
  const Bug bug{
      .reuse = [](std::uint64_t step, std::vector<Sum>& noise, const std::vector<Sum>& before) {
        if (step > 0) noise = before;
      }};
  ExpectCaught(bug, "noise_reuse");
  ExpectCaught(bug, "score_variance");
}

TEST(CanaryScoresTest, ARoundThatIsReleasedAgainWithTheSameNoiseIsFound) {
  ExpectCaught(
      {.reuse =
           [](std::uint64_t step, std::vector<Sum>& noise, const std::vector<Sum>& before) {
             if (step == 7) noise = before;
           }},
      "noise_reuse");
}

TEST(CanaryScoresTest, SitesThatShareTheirNoiseAreFound) {
  ExpectCaught({.reuse = [](std::uint64_t, std::vector<Sum>& noise,
                            const std::vector<Sum>&) { noise[1] = noise[0]; }},
               "noise_reuse");
}

TEST(CanaryScoresTest, RefusesPlansThatTellNothing) {
  const CanaryPlan good{
      .is_in = std::vector<std::uint8_t>(40, 1), .contribution = 1, .share_variance = 1};
  EXPECT_EQ(CanaryScores::Create(good).status().code(), StatusCode::kInvalidArgument);
  CanaryPlan plan = good;
  std::fill_n(plan.is_in.begin(), 20, 0);
  EXPECT_TRUE(CanaryScores::Create(plan).ok());
  plan.share_variance = std::nan("");
  EXPECT_EQ(CanaryScores::Create(plan).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::privacy
