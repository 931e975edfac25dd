#include "privacy/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace chorale::privacy {
namespace {

using ::testing::HasSubstr;

std::function<Event(double)> PoissonWithNoise(double rate, std::uint64_t steps) {
  return [=](double noise) { return NoisySteps(Sampling::kPoisson, rate, noise, steps); };
}

AccountingOptions With(AccountantKind accountant) { return {.accountant = accountant}; }

TEST(CalibrationTest, FindsPublishedNoise) {
  struct Known {
    double rate;
    std::uint64_t steps;
    Target target;
    AccountantKind accountant;
    double noise;
    double tolerance;
  };
  const auto rdp = AccountantKind::kRdp;
  const auto pld = AccountantKind::kPld;
  for (const Known& k : std::vector<Known>{{.01, 1, {1, 1e-5}, pld, 0.67379294682, 1e-6},
                                           {.04, 2250, {8, 1e-5}, rdp, 1.416, 1e-3},
                                           {.04, 2250, {8, 1e-5}, pld, 1.34765625, 3e-3},
                                           {.04, 2000, {8, 1e-5}, rdp, 1.3562, 1e-3},
                                           {.1, 512, {1, 1e-6}, pld, 9.66, 2e-3},
                                           {.25, 100, {1, 1e-4}, pld, 8.094, 1e-4},
                                           {.25, 100, {.5, 1e-4}, pld, 14.8508, 1e-4},
                                           {.05, 300, {.1, 1e-6}, pld, 31.5573, 1e-4},
                                           {.05, 300, {8, 1e-6}, pld, .9105, 1e-4}}) {
    const StatusOr<CalibratedNoise> found =
        CalibrateNoise(PoissonWithNoise(k.rate, k.steps), k.target, With(k.accountant));
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_NEAR(found->noise_multiplier, k.noise, k.tolerance);
  }
}

TEST(CalibrationTest, StaysJustBelowTheTarget) {
  for (const AccountantKind accountant : {AccountantKind::kRdp, AccountantKind::kPld}) {
    for (const double target : {.2, 1.0, 8.0}) {
      for (const double rate : {.1, 1.0}) {
        const auto event_with = PoissonWithNoise(rate, 50);
        const StatusOr<CalibratedNoise> found =
            CalibrateNoise(event_with, {target, 1e-5}, With(accountant));
        ASSERT_TRUE(found.ok()) << found.status();
        const Guarantee again =
            *EpsilonFor(event_with(found->noise_multiplier), 1e-5, With(accountant));
        EXPECT_LE(again.epsilon, target);
        EXPECT_GT(again.epsilon, target - 1e-3 * std::min(1.0, target));
        EXPECT_EQ(again.epsilon, found->guarantee.epsilon);
      }
    }
  }
}

TEST(CalibrationTest, CountsTheSensitivityOfAQuery) {
  // 25 queries of sensitivity 6 at epsilon 1: published.
  const StatusOr<CalibratedNoise> gaussian = CalibrateNoise(
      [](double deviation) { return Event{.kind = Gaussian{deviation / 6}, .count = 25}; },
      {1, .78760074}, {});
  EXPECT_NEAR(gaussian->noise_multiplier, 10, 1e-5);
  const StatusOr<CalibratedNoise> sampled = CalibrateNoise(
      [](double deviation) { return NoisySteps(Sampling::kPoisson, .001, deviation / 6, 25); },
      {1, 1e-5}, {});
  EXPECT_NEAR(sampled->noise_multiplier, 3.20956502598, 1e-5);
}

TEST(CalibrationTest, GivesTheLeastNoiseWhereThatIsEnough) {
  const StatusOr<CalibratedNoise> found = CalibrateNoise(PoissonWithNoise(1e-9, 1), {1, 1e-5}, {});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->noise_multiplier, 0.01);
}

TEST(CalibrationTest, SaysWhenATargetIsOutOfReach) {
  // The conversion alone costs .10 at the highest of the standard orders.
  const StatusOr<CalibratedNoise> found =
      CalibrateNoise(PoissonWithNoise(.01, 1), {.05, 1e-5}, With(AccountantKind::kRdp));
  EXPECT_EQ(found.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(found.status()), HasSubstr("gives epsilon 0.1028"));
  EXPECT_THAT(MessageOf(found.status()), HasSubstr("pld may reach it"));
  EXPECT_TRUE(CalibrateNoise(PoissonWithNoise(.01, 1), {.05, 1e-5}, {}).ok());
}

TEST(CalibrationTest, RefusesTargetsThatAreNone) {
  for (const double target : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    EXPECT_EQ(CalibrateNoise(PoissonWithNoise(.01, 1), {target, 1e-5}, {}).status().code(),
              StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(CalibrateNoise(PoissonWithNoise(.01, 1), {1, 0}, {}).ok());
  EXPECT_FALSE(CalibrateNoise(PoissonWithNoise(7, 1), {1, 1e-5}, {}).ok());
}

TEST(CalibrationTest, FindsTheMostSteps) {
  const auto event_with = [](std::uint64_t steps) {
    return NoisySteps(Sampling::kPoisson, .1, 3, steps);
  };
  const StatusOr<CalibratedSteps> found = CalibrateSteps(event_with, {2, 1e-6}, {});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->steps, 155U);  // 156 give 2.0029.
  EXPECT_NEAR(found->guarantee.epsilon, 1.996263, 1e-6);
}

TEST(CalibrationTest, SaysWhenOneStepIsTooMany) {
  const auto event_with = [](std::uint64_t steps) {
    return NoisySteps(Sampling::kPoisson, .5, .5, steps);
  };
  const StatusOr<CalibratedSteps> found = CalibrateSteps(event_with, {1, 1e-6}, {});
  EXPECT_EQ(found.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(found.status()), HasSubstr("a single step gives epsilon"));
}

TEST(CalibrationTest, StopsCountingStepsThatCostNothing) {
  const auto event_with = [](std::uint64_t steps) {
    return NoisySteps(Sampling::kPoisson, 0, 1, steps);
  };
  EXPECT_EQ(CalibrateSteps(event_with, {1, 1e-6}, {})->steps, 1'000'000'000U);
}

}  // namespace
}  // namespace chorale::privacy
