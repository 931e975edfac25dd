#include "privacy/audit/one_run_bound.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/random.h"

namespace chorale::privacy {
namespace {

TEST(OneRunBoundTest, GuessesThatAreAllRightRefuteWhatAnEquationSays) {
  // Without delta, all of r are right with probability (1 / (1 + e^-epsilon))^r.
  for (const std::uint64_t count : {10u, 100u, 1000u}) {
    const double right = std::pow(0.05, 1.0 / static_cast<double>(count));
    EXPECT_NEAR(RefutedEpsilon({count, count, count}, 0, 0.05), std::log(right / (1 - right)),
                2e-6);
  }
}

TEST(OneRunBoundTest, ThePValueOfFewGuessesIsThatByHand) {
  // Three guesses, two right, epsilon 0: P[B >= 2] = 1/2; P[B = 1] = 3/8 and
  // P[B <= 1] / 2 = 1/4, so that delta adds 2 * 5 * 3/8 of itself.
  EXPECT_NEAR(GuessingPValue({5, 3, 2}, 0, 0), 0.5, 1e-12);
  EXPECT_NEAR(GuessingPValue({5, 3, 2}, 0, 1e-3), 0.5 + 1e-2 * 3 / 8, 1e-12);
  EXPECT_NEAR(GuessingPValue({5, 3, 0}, 1, 0.5), 1, 1e-12);
}

TEST(OneRunBoundTest, DeltaAndFewerGuessesWeakenTheBound) {
  const double plain = RefutedEpsilon({1000, 500, 400}, 0, 0.05);
  EXPECT_GT(plain, 1);
  EXPECT_LT(plain, std::log(4));
  EXPECT_LT(RefutedEpsilon({1000, 500, 400}, 1e-3, 0.05), plain);
  EXPECT_LT(RefutedEpsilon({1000, 50, 40}, 0, 0.05), plain);
  EXPECT_EQ(RefutedEpsilon({1000, 500, 250}, 0, 0.05), 0);
}

// Scores of 10,000 canaries in and as many out at evenly spaced quantiles of normal distributions
// that are 1, 2 and 4 deviations apart, as jax_privacy publishes bounds for: right guesses and
// guesses at the best threshold, and 0.05 shared by the thresholds that are on the hull of errors.
TEST(OneRunBoundTest, AgreesWithPublishedBounds) {
  EXPECT_NEAR(RefutedEpsilon({20000, 3376, 2807}, 1e-6, 0.05 / 386), 1.13346, 1e-5);
  EXPECT_NEAR(RefutedEpsilon({20000, 4666, 4499}, 1e-6, 0.05 / 374), 2.311945, 1e-5);
  EXPECT_NEAR(RefutedEpsilon({20000, 8233, 8223}, 1e-6, 0.05 / 140), 4.395568, 1e-5);
}

// Randomized response with a known epsilon: the bound stays below it and comes near.
TEST(OneRunBoundTest, TheBoundStaysBelowAnEpsilonThatIsKnown) {
  constexpr double kEpsilon = 2;
  int num_above = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SeededRandom random(seed);
    std::vector<double> scores;
    std::vector<std::uint8_t> is_in;
    for (int i = 0; i < 1000; ++i) {
      const bool in = random.NextBelow(2) == 1;
      const bool is_true = random.NextDouble() < 1 / (1 + std::exp(-kEpsilon));
      is_in.push_back(in ? 1 : 0);
      scores.push_back(in == is_true ? 1 : 0);
    }
    const double bound = OneRunEpsilon(scores, is_in, 0, 0.05).epsilon;
    EXPECT_GT(bound, 1.3) << seed;
    num_above += bound > kEpsilon ? 1 : 0;
  }
  EXPECT_LE(num_above, 5);
}

}  // namespace
}  // namespace chorale::privacy
