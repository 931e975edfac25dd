#include "privacy/rdp_curve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "privacy/gaussian.h"
#include "privacy/log_math.h"
#include "privacy/sampled_gaussian_rdp.h"

namespace chorale::privacy {
namespace {

using ::testing::HasSubstr;

constexpr auto kAddRemove = NeighboringRelation::kAddOrRemoveOne;
constexpr auto kReplace = NeighboringRelation::kReplaceOne;

EpsilonAtOrder Epsilon(const Event& event, double delta, NeighboringRelation relation = kAddRemove,
                       const std::vector<double>& orders = StandardOrders()) {
  const StatusOr<RdpCurve> curve = ComputeRdpCurve(event, relation, orders);
  EXPECT_TRUE(curve.ok()) << curve.status();
  return EpsilonOf(*curve, delta);
}

Event Poisson(double rate, double noise, std::uint64_t steps) {
  return NoisySteps(Sampling::kPoisson, rate, noise, steps);
}

TEST(RdpCurveTest, GivesPublishedEpsilons) {
  EXPECT_NEAR(Epsilon(Poisson(.04, 1.5, 2250), 1e-5).epsilon, 7.32911117143, 1e-9);
  EXPECT_NEAR(Epsilon(Poisson(150.0 / 60000, 1.3, 6000), 1e-5).epsilon, 0.7242234026109595, 1e-9);
  EXPECT_EQ(Epsilon(Poisson(150.0 / 60000, 1.3, 6000), 1e-5).order, 19);
  EXPECT_NEAR(Epsilon(Poisson(1e-3, 1, 30'000), 1e-7).epsilon, 1.4154988495444842, 1e-9);
  EXPECT_EQ(Epsilon(Poisson(1e-3, 1, 30'000), 1e-7).order, 13);
  EXPECT_NEAR(Epsilon({.kind = Gaussian{.7}, .count = 2}, 1e-5).epsilon, 10.8602036, 1e-7);
  EXPECT_NEAR(Epsilon({.kind = Gaussian{.35}, .count = 2}, 1e-5).epsilon, 26.2880374, 1e-7);
  EXPECT_NEAR(Epsilon(Poisson(.01, .7, 120), 1e-5).epsilon, 3.2391922, 1e-7);
  EXPECT_NEAR(Epsilon(Poisson(.01, .35, 120), 1e-5).epsilon, 22.5970358, 1e-7);
  EXPECT_NEAR(Epsilon(Poisson(.0064, 1, 782), 1e-6).epsilon, 1.616, 1e-3);
  EXPECT_NEAR(Epsilon({.kind = Gaussian{1.0 / 3}, .count = 5}, 1e-6).epsilon, 56.224, 1e-3);
  // Little noise on a tiny share, at an order that only that publication has.
  EXPECT_NEAR(Epsilon(Poisson(1024 / 1e8, .1, 976'563), 1e-7, kAddRemove, {1.25, 1.5, 2}).epsilon,
              5907982.3113984, 1e-3);
}

// What papers and manuals print, with the conversion that this one improves on.
TEST(RdpCurveTest, ExplainsFiguresByTheOlderConversion) {
  struct Printed {
    double rate;
    double noise;
    std::uint64_t steps;
    double older;
    double newer;
  };
  for (const Printed& p : std::vector<Printed>{{256.0 / 60000, 1.3, 3515, 1.192130, .954430},
                                               {256.0 / 60000, 1.1, 14062, 3.008272, 2.596556},
                                               {256.0 / 60000, .7, 10546, 7.100268, 6.318101},
                                               {.004, 1.3, 3750, 1.159749, .922049},
                                               {.004, 1.1, 15000, 2.905045, 2.502871},
                                               {.004, .7, 11250, 6.858866, 6.092535},
                                               {.01, 4, 10000, 1.258575, 1.035490},
                                               {.01, 4, 40000, 2.573659, 2.209736},
                                               {4096.0 / 50000, 3, 2500, 7.817, 7.098483}}) {
    const RdpCurve curve =
        *ComputeRdpCurve(Poisson(p.rate, p.noise, p.steps), kAddRemove, StandardOrders());
    double older = kInfinity;
    for (std::size_t i = 0; i < curve.orders.size(); ++i) {
      older = std::min(older, curve.values[i] - std::log(1e-5) / (curve.orders[i] - 1));
    }
    EXPECT_NEAR(older, p.older, 2e-3);
    EXPECT_NEAR(EpsilonOf(curve, 1e-5).epsilon, p.newer, 1e-6);
  }
}

TEST(RdpCurveTest, ConvertsACurve) {
  RdpCurve flat;
  for (int order = 2; order <= 32; ++order) flat.orders.push_back(order);
  flat.values.assign(flat.orders.size(), 1.1);
  EXPECT_NEAR(EpsilonOf(flat, 1e-5).epsilon, 1.32783806176, 1e-10);
  EXPECT_EQ(EpsilonOf(flat, 1e-5).order, 32);

  RdpCurve gaussian;
  for (int i = 1; i < 99'000; ++i) gaussian.orders.push_back(1 + i / 1000.0);
  for (const double order : gaussian.orders) {
    gaussian.values.push_back(order / (2 * 4.530877117 * 4.530877117));
  }
  EXPECT_NEAR(EpsilonOf(gaussian, 1e-6).epsilon, 1, 1e-8);
}

TEST(RdpCurveTest, GivesDeltasThatFitItsEpsilons) {
  const RdpCurve curve = *ComputeRdpCurve(Poisson(.02, 1.2, 800), kAddRemove, StandardOrders());
  for (const double delta : {1e-2, 1e-5, 1e-9}) {
    EXPECT_NEAR(DeltaOf(curve, EpsilonOf(curve, delta).epsilon) / delta, 1, 1e-9);
  }
  EXPECT_EQ(DeltaOf({.orders = {2}, .values = {kInfinity}}, 1), 1);
  EXPECT_EQ(EpsilonOf({.orders = {2}, .values = {kInfinity}}, 1e-5).epsilon, kInfinity);
}

TEST(RdpCurveTest, IsNeverBelowTheExactGaussian) {
  for (const double noise : {0.3, 1.0, 5.0, 60.0}) {
    for (const double delta : {1e-3, 1e-6, 1e-10}) {
      EXPECT_GE(Epsilon({.kind = Gaussian{noise}}, delta).epsilon,
                GaussianEpsilon(1 / noise, delta));
    }
  }
}

TEST(RdpCurveTest, GainsFromMoreOrdersOnly) {
  const Event small = Poisson(.001, 8, 1000);
  const EpsilonAtOrder standard = Epsilon(small, 1e-5);
  const EpsilonAtOrder extended = Epsilon(small, 1e-5, kAddRemove, ExtendedOrders());
  EXPECT_EQ(standard.order, 63);
  EXPECT_NEAR(standard.epsilon, 0.1033637832, 1e-9);
  EXPECT_GT(extended.order, 63);
  EXPECT_LT(extended.epsilon, 0.03);
}

TEST(RdpCurveTest, AddsUp) {
  const std::vector<double> orders = StandardOrders();
  const Event first = Poisson(.02, 1.2, 30);
  const Event second = {.kind = Gaussian{7}, .count = 4};
  const Event third = {.kind = Laplace{9}, .count = 2};
  const auto values = [&](const Event& event) {
    return ComputeRdpCurve(event, kAddRemove, orders)->values;
  };
  const auto all = values({.kind = Composed{.parts = {third, first, second}}, .count = 2});
  for (std::size_t i = 0; i < orders.size(); ++i) {
    EXPECT_NEAR(all[i], 2 * (values(first)[i] + values(second)[i] + values(third)[i]),
                1e-12 * all[i]);
  }
}

TEST(RdpCurveTest, CountsTwoClippingBoundsWhenOneIsReplaced) {
  const std::vector<double> orders = {1.5, 4, 20};
  const auto values = [&](const Event& event, NeighboringRelation relation) {
    return ComputeRdpCurve(event, relation, orders)->values;
  };
  for (std::size_t i = 0; i < orders.size(); ++i) {
    EXPECT_DOUBLE_EQ(values({.kind = Gaussian{3}}, kReplace)[i],
                     values({.kind = Gaussian{1.5}}, kAddRemove)[i]);
    EXPECT_DOUBLE_EQ(values({.kind = Laplace{3}}, kReplace)[i],
                     values({.kind = Laplace{1.5}}, kAddRemove)[i]);
  }
}

TEST(RdpCurveTest, CostsMoreToReplaceThanToRemoveAndLessThanToDoBoth) {
  // The weak triangle inequality at exponent 2: D_a(P||R) <= (a-1/2)/(a-1) D_2a(P||Q) +
  // D_2a-1(Q||R).
  for (const double order : {2.0, 4.5, 12.0}) {
    const auto at = [&](NeighboringRelation relation, double a) {
      return ComputeRdpCurve(Poisson(.05, 1.3, 1), relation, std::vector<double>{a})
          ->values.front();
    };
    EXPECT_GT(at(kReplace, order), at(kAddRemove, order));
    EXPECT_LT(at(kReplace, order), (order - 0.5) / (order - 1) * at(kAddRemove, 2 * order) +
                                       at(kAddRemove, 2 * order - 1));
  }
}

TEST(RdpCurveTest, CountsTwoClippingBoundsWhenABatchHasAFixedSize) {
  const Event fixed = NoisySteps(Sampling::kFixedSize, .01, 2, 1000);
  EXPECT_NEAR(Epsilon(fixed, 1e-5, kReplace).epsilon, 3.576111482350549, 1e-9);
  EXPECT_NEAR(Epsilon(fixed, 1e-5).epsilon, Epsilon(Poisson(.01, 1, 1000), 1e-5).epsilon, 1e-12);
}

TEST(RdpCurveTest, GivesEachSamplingItsOwnCost) {
  const auto epsilon = [](Sampling sampling, NeighboringRelation relation) {
    return Epsilon(NoisySteps(sampling, .01, 1, 1000), 1e-5, relation).epsilon;
  };
  EXPECT_NEAR(epsilon(Sampling::kPoisson, kAddRemove), 2.1013665, 2e-6);
  EXPECT_GT(epsilon(Sampling::kFixedSize, kAddRemove), epsilon(Sampling::kPoisson, kAddRemove));
  EXPECT_GT(epsilon(Sampling::kFixedSize, kReplace), epsilon(Sampling::kPoisson, kReplace));
  EXPECT_NEAR(epsilon(Sampling::kShuffled, kAddRemove),
              Epsilon({.kind = Gaussian{1}, .count = 10}, 1e-5).epsilon, 1e-12);
}

TEST(RdpCurveTest, MixesCutAndWholeBatches) {
  const auto epsilon = [](std::uint64_t max_batch) {
    return Epsilon({.kind = TruncatedPoissonGaussian{.num_units = 10'000,
                                                     .sample_rate = .01,
                                                     .max_batch = max_batch,
                                                     .noise_multiplier = 1},
                    .count = 1000},
                   1e-5)
        .epsilon;
  };
  const double whole = Epsilon(Poisson(.01, 1, 1000), 1e-5).epsilon;
  EXPECT_NEAR(epsilon(10'000), whole, 1e-12);
  EXPECT_NEAR(epsilon(300), whole, 1e-6);
  EXPECT_GT(epsilon(140), whole);
  EXPECT_GT(epsilon(100), epsilon(140));
  // Always cut: never more than replacing in a batch that moves by 2 C.
  EXPECT_LT(epsilon(1), Epsilon(Poisson(.01, .5, 1000), 1e-5, kReplace).epsilon);
}

TEST(RdpCurveTest, KnowsPatientsWithSeveralRecords) {
  const auto epsilon = [](std::uint64_t num_records) {
    return Epsilon({.kind = RecordsOfOnePatient(num_records, .01, 1), .count = 1000}, 1e-5).epsilon;
  };
  EXPECT_NEAR(epsilon(1), Epsilon(Poisson(.01, 1, 1000), 1e-5).epsilon, 1e-8);
  EXPECT_GT(epsilon(2), 3.979090);  // The tight figure.
  EXPECT_LT(epsilon(2), 1.2 * 3.979090);
  EXPECT_GT(epsilon(10), 27.899);
}

TEST(RdpCurveTest, KnowsTheLaplaceMechanism) {
  const auto at = [](double noise, double order) {
    return ComputeRdpCurve({.kind = Laplace{noise}}, kAddRemove, std::vector<double>{order})
        ->values.front();
  };
  // Pure differential privacy bounds every order, and the limit is the bound itself.
  EXPECT_LT(at(0.5, 1.5), 2);
  EXPECT_NEAR(at(0.5, 1e6), 2, 1e-4);
  // ln((2 e + e^-2) / 3) at order 2 and scale 1.
  EXPECT_NEAR(at(1, 2), std::log((2 * std::exp(1) + std::exp(-2)) / 3), 1e-14);
}

TEST(RdpCurveTest, HasNoBoundWithoutNoise) {
  for (const Event& event :
       {Poisson(.1, 0, 1), Event{.kind = Gaussian{0}}, Event{.kind = Laplace{0}},
        NoisySteps(Sampling::kFixedSize, .1, 0, 1), NoisySteps(Sampling::kShuffled, .1, 0, 1),
        Event{.kind = RecordsOfOnePatient(3, .1, 0)}}) {
    EXPECT_EQ(Epsilon(event, 1e-5).epsilon, kInfinity);
    EXPECT_EQ(Epsilon(event, 1e-5, kReplace).epsilon, kInfinity);
  }
  EXPECT_EQ(Epsilon(Poisson(0, 0, 10), 0.5).epsilon, 0);
}

TEST(RdpCurveTest, SaysWhatItHasNoRuleFor) {
  const StatusOr<RdpCurve> sampled =
      ComputeRdpCurve({.kind = SampledLaplace{.sample_rate = .1, .noise_multiplier = 1}},
                      kAddRemove, StandardOrders());
  EXPECT_EQ(sampled.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(sampled.status()), HasSubstr("use pld"));
  for (const double order : {1.0, 0.5, -3.0, std::numeric_limits<double>::quiet_NaN(), 1e9}) {
    EXPECT_FALSE(ComputeRdpCurve(Poisson(.1, 1, 1), kAddRemove, std::vector<double>{order}).ok());
  }
  EXPECT_FALSE(ComputeRdpCurve(Poisson(.1, 1, 1), kAddRemove, {}).ok());
}

}  // namespace
}  // namespace chorale::privacy
