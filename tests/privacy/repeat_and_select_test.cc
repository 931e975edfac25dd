#include "privacy/repeat_and_select.h"

#include <gtest/gtest.h>

#include <vector>

namespace chorale::privacy {
namespace {

using Repetitions = RepeatAndSelect::Repetitions;

double EpsilonOfTuning(Repetitions repetitions, double mean) {
  const Event event = {.kind =
                           RepeatAndSelect{.run = {NoisySteps(Sampling::kPoisson, 0.01, 1, 1000)},
                                           .repetitions = repetitions,
                                           .mean = mean}};
  const StatusOr<RdpCurve> curve =
      ComputeRdpCurve(event, NeighboringRelation::kAddOrRemoveOne, StandardOrders());
  EXPECT_TRUE(curve.ok());
  return EpsilonOf(*curve, 1e-5).epsilon;
}

// Another implementation's figures; it adds the fractional series without their signs, so that its
// divergences are up to 1e-3 more.
TEST(RepeatAndSelectTest, AgreesWithAnotherImplementation) {
  struct Known {
    double mean;
    double logarithmic;
    double geometric;
    double poisson;
  };
  for (const Known& k : std::vector<Known>{{2, 2.785605, 3.014420, 2.581752},
                                           {10, 3.522633, 4.103271, 4.329498},
                                           {50, 4.081271, 4.941831, 11.277393},
                                           {100, 4.301169, 5.270022, 16.396757}}) {
    EXPECT_NEAR(EpsilonOfTuning(Repetitions::kLogarithmic, k.mean), k.logarithmic, 1e-3);
    EXPECT_NEAR(EpsilonOfTuning(Repetitions::kGeometric, k.mean), k.geometric, 1e-3);
    EXPECT_NEAR(EpsilonOfTuning(Repetitions::kPoisson, k.mean), k.poisson, 1e-3);
  }
}

TEST(RepeatAndSelectTest, CostsNoLessThanOneRunAndLessThanPayingForEach) {
  const Event once = NoisySteps(Sampling::kPoisson, 0.01, 1, 1000);
  const Event ten = NoisySteps(Sampling::kPoisson, 0.01, 1, 10'000);
  const auto epsilon = [](const Event& event) {
    return EpsilonOf(
               *ComputeRdpCurve(event, NeighboringRelation::kAddOrRemoveOne, StandardOrders()),
               1e-5)
        .epsilon;
  };
  const double tuned = EpsilonOfTuning(Repetitions::kGeometric, 10);
  EXPECT_GT(tuned, epsilon(once));
  EXPECT_NEAR(epsilon(once), 2.101367, 1e-5);
  EXPECT_LT(tuned, epsilon(ten));
  EXPECT_NEAR(epsilon(ten), 6.712757, 1e-4);
}

TEST(RepeatAndSelectTest, CostsMoreTheMoreRuns) {
  for (const Repetitions repetitions :
       {Repetitions::kLogarithmic, Repetitions::kGeometric, Repetitions::kPoisson}) {
    double last = 0;
    for (const double mean : {1.0, 1.5, 3.0, 20.0, 500.0}) {
      const double epsilon = EpsilonOfTuning(repetitions, mean);
      EXPECT_GT(epsilon, last);
      last = epsilon;
    }
  }
}

TEST(RepeatAndSelectTest, ComposesWithWhatCameBefore) {
  const Event tuning = {.kind = RepeatAndSelect{.run = {{.kind = Gaussian{4}}},
                                                .repetitions = Repetitions::kGeometric,
                                                .mean = 3}};
  const Event both = {.kind = Composed{.parts = {{.kind = Gaussian{2}, .count = 3}, tuning}}};
  const std::vector<double> orders = {2, 8, 32};
  const auto values = [&](const Event& event) {
    return ComputeRdpCurve(event, NeighboringRelation::kAddOrRemoveOne, orders)->values;
  };
  const std::vector<double> alone = values(tuning);
  for (std::size_t i = 0; i < orders.size(); ++i) {
    EXPECT_NEAR(values(both)[i], alone[i] + 3 * orders[i] / 8, 1e-12);
  }
}

}  // namespace
}  // namespace chorale::privacy
