#include "training/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace chorale::training {
namespace {

constexpr RoundPlace kFirst{1, 10};

TEST(RateFactorTest, IsOneWithoutASchedule) {
  for (const std::uint32_t round : {1u, 7u}) {
    EXPECT_EQ(RateFactor({}, {round, 10}, 20, 13), 1);
  }
}

TEST(RateFactorTest, StepDecayFallsAfterSoManyRounds) {
  v1::LearningRateSchedule schedule;
  schedule.mutable_step_decay()->set_every_rounds(3);
  schedule.mutable_step_decay()->set_factor(0.5);

  EXPECT_EQ(RateFactor(schedule, {1, 10}, 20, 0), 1);
  EXPECT_EQ(RateFactor(schedule, {3, 10}, 20, 19), 1);
  EXPECT_EQ(RateFactor(schedule, {4, 10}, 20, 0), 0.5);
  EXPECT_EQ(RateFactor(schedule, {10, 10}, 20, 19), 0.125);
}

TEST(RateFactorTest, CosineGoesFromOneToTheFloorOverAllRounds) {
  v1::LearningRateSchedule schedule;
  schedule.mutable_cosine()->set_floor(0.2);

  EXPECT_EQ(RateFactor(schedule, kFirst, 20, 0), 1);
  EXPECT_NEAR(RateFactor(schedule, {6, 10}, 20, 0), 0.6, 1e-15);
  const double share = (9 + 19.0 / 20) / 10;
  EXPECT_NEAR(RateFactor(schedule, {10, 10}, 20, 19),
              0.2 + 0.8 * (1 + std::cos(std::numbers::pi * share)) / 2, 1e-15);
  EXPECT_NEAR(RateFactor(schedule, {11, 10}, 20, 5), 0.2, 1e-15);
}

TEST(RateFactorTest, ExponentialFallsByItsFactorOverARoundOfSteps) {
  v1::LearningRateSchedule schedule;
  schedule.mutable_exponential()->set_factor(0.9);

  EXPECT_EQ(RateFactor(schedule, kFirst, 4, 0), 1);
  EXPECT_NEAR(RateFactor(schedule, kFirst, 4, 2), std::sqrt(0.9), 1e-15);
  EXPECT_NEAR(RateFactor(schedule, {3, 10}, 4, 0), 0.81, 1e-15);
}

TEST(RateFactorTest, GoesOnWhereTheRoundBeforeEnded) {
  v1::LearningRateSchedule cosine, exponential;
  cosine.mutable_cosine();
  exponential.mutable_exponential()->set_factor(0.7);
  cosine.set_warmup_steps(13);
  for (const auto& schedule : {cosine, exponential}) {
    for (std::uint32_t step = 0; step < 30; ++step) {
      // 10 rounds of 3 steps against one round of 30.
      if (schedule.has_exponential()) {
        EXPECT_NEAR(RateFactor(schedule, {step / 3 + 1, 10}, 3, step % 3),
                    std::pow(0.7, step / 3.0), 1e-12);
      } else {
        EXPECT_NEAR(RateFactor(schedule, {step / 3 + 1, 10}, 3, step % 3),
                    RateFactor(schedule, {1, 1}, 30, step), 1e-12);
      }
    }
  }
}

TEST(RateFactorTest, WarmupRisesLinearlyAcrossRounds) {
  v1::LearningRateSchedule schedule;
  schedule.set_warmup_steps(8);

  EXPECT_EQ(RateFactor(schedule, {1, 10}, 5, 0), 1.0 / 8);
  EXPECT_EQ(RateFactor(schedule, {1, 10}, 5, 4), 5.0 / 8);
  EXPECT_EQ(RateFactor(schedule, {2, 10}, 5, 0), 6.0 / 8);
  EXPECT_EQ(RateFactor(schedule, {2, 10}, 5, 2), 1);
  EXPECT_EQ(RateFactor(schedule, {2, 10}, 5, 4), 1);
}

TEST(RateFactorTest, WarmupAndDecayMultiply) {
  v1::LearningRateSchedule schedule;
  schedule.set_warmup_steps(100);
  schedule.mutable_step_decay()->set_every_rounds(1);
  schedule.mutable_step_decay()->set_factor(0.5);

  EXPECT_NEAR(RateFactor(schedule, {3, 10}, 10, 4), 0.25 * 25 / 100, 1e-15);
}

}  // namespace
}  // namespace chorale::training
