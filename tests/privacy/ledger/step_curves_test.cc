#include "privacy/ledger/step_curves.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace chorale::privacy {
namespace {

Event Sampled(double noise) {
  return {.kind = SampledGaussian{.sample_rate = 0.1, .noise_multiplier = noise}};
}

TEST(StepCurvesTest, AreThoseOfTheAccountantForEachEventAndRelation) {
  for (const double noise : {1.0, 1.5}) {
    for (const auto relation :
         {NeighboringRelation::kAddOrRemoveOne, NeighboringRelation::kReplaceOne}) {
      for (int time = 0; time < 2; ++time) {
        const auto curve = CurveOfStep(Sampled(noise), relation);

        const auto expected = ComputeRdpCurve(Sampled(noise), relation, ExtendedOrders());
        ASSERT_TRUE(curve.ok() && expected.ok());
        EXPECT_EQ((*curve)->orders, expected->orders);
        EXPECT_EQ((*curve)->values, expected->values);
      }
    }
  }
}

TEST(StepCurvesTest, AreComputedOnce) {
  const auto first = CurveOfStep(Sampled(1.25), NeighboringRelation::kReplaceOne);
  const auto second = CurveOfStep(Sampled(1.25), NeighboringRelation::kReplaceOne);

  EXPECT_EQ(first->get(), second->get());
}

TEST(StepCurvesTest, AreTheSameForThreadsThatAskAtOnce) {
  std::vector<std::vector<double>> values(8);
  std::vector<std::thread> threads;
  for (auto& own : values) {
    threads.emplace_back([&own] {
      own = (*CurveOfStep(Sampled(1.75), NeighboringRelation::kAddOrRemoveOne))->values;
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (const auto& own : values) EXPECT_EQ(own, values[0]);
}

TEST(StepCurvesTest, RefuseAnEventWithoutARule) {
  EXPECT_FALSE(CurveOfStep({.kind = SampledLaplace{.sample_rate = 0.1, .noise_multiplier = 1}},
                           NeighboringRelation::kReplaceOne)
                   .ok());
}

}  // namespace
}  // namespace chorale::privacy
