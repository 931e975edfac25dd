#include "training/clipping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/training/toy_data.h"
#include "training/patient_rows.h"

namespace chorale::training {
namespace {

using testing::DoubleEq;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Decided {
  ClippingRule::Verdict verdict;
  std::vector<double> factors;
};
Decided Decide(Clipping clipping, double max_grad_norm, const std::vector<double>& squares) {
  Decided decided{.verdict = {}, .factors = std::vector<double>(squares.size())};
  decided.verdict =
      ClippingRule(clipping, max_grad_norm, squares.size()).Decide(squares, decided.factors);
  return decided;
}

TEST(ClippingRuleTest, FlatShortensWhatIsLongerThanTheBoundAndNothingElse) {
  const Decided longer = Decide(Clipping::kFlat, 2, {9, 16});
  EXPECT_THAT(longer.factors, Each(DoubleEq(2 / (5 + 1e-6))));
  EXPECT_TRUE(longer.verdict.is_clipped);
  const Decided shorter = Decide(Clipping::kFlat, 6, {9, 16});
  EXPECT_THAT(shorter.factors, Each(1.0));
  EXPECT_FALSE(shorter.verdict.is_clipped);
  EXPECT_THAT(Decide(Clipping::kFlat, 2, {0, 0}).factors, Each(1.0));
}

TEST(ClippingRuleTest, PerLayerGivesEachLayerAnEqualShareOfTheSquaredBound) {
  const Decided decided = Decide(Clipping::kPerLayer, 2, {100, 1, 2.5, 0});  // A bound of 1 each.
  EXPECT_THAT(decided.factors, ElementsAre(DoubleEq(1 / (10 + 1e-6)), DoubleEq(1 / (1 + 1e-6)),
                                           DoubleEq(1 / (std::sqrt(2.5) + 1e-6)), 1.0));
  EXPECT_TRUE(decided.verdict.is_clipped);
  // All layers at their bounds make up the whole.
  const std::vector<double> squares = {100, 900, 2500, 400};
  double square = 0;
  const Decided aligned = Decide(Clipping::kPerLayer, 2, squares);
  for (std::size_t i = 0; i < 4; ++i)
    square += squares[i] * aligned.factors[i] * aligned.factors[i];
  EXPECT_NEAR(std::sqrt(square), 2, 1e-6);
  EXPECT_LE(std::sqrt(square), 2);
}

TEST(ClippingRuleTest, AutomaticGivesEveryGradientAboutTheBoundAndNeverMore) {
  EXPECT_THAT(Decide(Clipping::kAutomatic, 2, {9, 16}).factors, Each(DoubleEq(2 / 5.01)));
  const Decided small = Decide(Clipping::kAutomatic, 2, {1e-6});
  EXPECT_DOUBLE_EQ(small.factors[0], 2 / 0.011);
  EXPECT_FALSE(small.verdict.is_clipped);
  EXPECT_LT(small.factors[0] * 1e-3, 2);
}

TEST(ClippingRuleTest, VotesForTheBoundWhereTheGradientIsShorterAndAgainstItWhereItIsLonger) {
  const auto vote = [](double norm) {
    return Decide(Clipping::kFlat, 2, {norm * norm / 4, norm * norm * 3 / 4}).verdict.vote;
  };
  EXPECT_EQ(vote(0), 1);
  EXPECT_EQ(vote(1.74), 1);
  EXPECT_NEAR(vote(1.875), 0.5, 1e-12);
  EXPECT_NEAR(vote(2), 0, 1e-12);
  EXPECT_NEAR(vote(2.125), -0.5, 1e-12);
  EXPECT_EQ(vote(2.26), -1);
  EXPECT_EQ(vote(1e20), -1);
}

TEST(ClippingRuleTest, WhatIsNotFiniteCountsNothing) {
  for (const Clipping clipping : {Clipping::kFlat, Clipping::kPerLayer, Clipping::kAutomatic}) {
    for (const double square : {kInfinity, std::nan(""), 1e300}) {
      const Decided decided = Decide(clipping, 1, {1, square, 1});
      EXPECT_FALSE(decided.verdict.is_finite);
      EXPECT_FALSE(decided.verdict.is_clipped);
      EXPECT_EQ(decided.verdict.vote, 0);
      EXPECT_THAT(decided.factors, Each(0.0));
    }
  }
}

TEST(SumOfSquaresTest, IsExactToSinglePrecisionAndHoldsBeyondItsRange) {
  std::vector<float> values(100003);
  double expected = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(std::sin(static_cast<double>(i)));
    expected += double{values[i]} * double{values[i]};
  }
  EXPECT_NEAR(SumOfSquares(values) / expected, 1, 1e-7);
  values[5] = 1e30F;
  EXPECT_NEAR(SumOfSquares(values) / 1e60, 1, 1e-6);
  values[6] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(SumOfSquares(values)));
}

TEST(PatientRowsTest, AreThoseOfTheDrawnPatientsInFileOrder) {
  const std::vector<std::uint32_t> of_rows = {0, 2, 1, 2, 0, 3, 2};
  const std::vector<std::uint32_t> drawn = {2, 0};
  const PatientRows rows(of_rows, drawn);
  ASSERT_EQ(rows.num_patients(), 2u);
  EXPECT_EQ(rows.patient(0), 2u);
  EXPECT_THAT(rows.rows(0), ElementsAre(1, 3, 6));
  EXPECT_THAT(rows.rows(1), ElementsAre(0, 4));
  EXPECT_EQ(PatientRows(of_rows, {}).num_patients(), 0u);
}

TEST(ValidatePrivateTest, RefusesWhatMixesPatientsAndSaysWhatToUse) {
  v1::ModelSpec cox;
  cox.mutable_cox();
  const Status status = ValidatePrivate(PlanFor(cox, 3), "job.model");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.ToString(), HasSubstr("job.model"));
  EXPECT_THAT(status.ToString(), HasSubstr("discrete_survival"));

  v1::ModelGraph graph;
  graph.add_inputs()->set_name("x");
  graph.mutable_inputs(0)->add_shape(3);
  v1::GraphNode& node = *graph.add_nodes();
  node.set_name("moments");
  node.add_inputs("x");
  node.mutable_batch_norm();
  graph.set_output("moments");
  const auto plan = models::GraphPlan::Create(graph, "graph").value();
  EXPECT_THAT(ValidatePrivate(plan).ToString(), HasSubstr("\"moments\""));
  EXPECT_THAT(ValidatePrivate(plan).ToString(), HasSubstr("group_norm"));
  EXPECT_TRUE(ValidatePrivate(PlanFor(MakeLogisticRegression(), 3)).ok());
}

}  // namespace
}  // namespace chorale::training
