#include "data/moments.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/random.h"

namespace chorale::data {
namespace {

std::vector<double> Uniform(std::size_t count, double offset, double width) {
  SeededRandom random(7);
  std::vector<double> values(count);
  for (double& value : values) value = offset + width * random.NextDouble();
  return values;
}

TEST(MomentsTest, AreThoseOfASample) {
  const std::vector<double> values = {2, 4, 4, 4, 5, 5, 7, 9};

  const Moments moments = MomentsOf(values);

  EXPECT_DOUBLE_EQ(moments.mean, 5);
  EXPECT_DOUBLE_EQ(moments.standard_deviation, std::sqrt(32.0 / 7));
}

TEST(MomentsTest, AgreeBetweenSumsAndTwoPasses) {
  const std::vector<double> values = Uniform(1000, 120, 60);

  const Moments from_sums = MomentsOf(SumsOf(values));
  const Moments two_passes = MomentsOf(values);

  EXPECT_NEAR(from_sums.mean, two_passes.mean, 1e-10);
  EXPECT_NEAR(from_sums.standard_deviation, two_passes.standard_deviation, 1e-10);
}

TEST(MomentsTest, OfSumsOverSitesAreThoseOfThePooledRows) {
  const std::vector<double> pooled = Uniform(900, -5, 10);
  MomentSums total;
  for (std::size_t site = 0; site < 3; ++site) {
    const MomentSums sums = SumsOf(std::span(pooled).subspan(300 * site, 300));
    total.count += sums.count;
    total.sum += sums.sum;
    total.sum_of_squares += sums.sum_of_squares;
  }

  const Moments moments = MomentsOf(total);

  EXPECT_NEAR(moments.mean, MomentsOf(pooled).mean, 1e-12);
  EXPECT_NEAR(moments.standard_deviation, MomentsOf(pooled).standard_deviation, 1e-12);
}

TEST(MomentsTest, OfAConstantColumnHaveDeviationOne) {
  const std::vector<double> values(1000, 0.1);

  EXPECT_EQ(MomentsOf(values).mean, 0.1);
  EXPECT_EQ(MomentsOf(values).standard_deviation, 1);
  EXPECT_DOUBLE_EQ(MomentsOf(SumsOf(values)).mean, 0.1);
  EXPECT_EQ(MomentsOf(SumsOf(values)).standard_deviation, 1);
}

TEST(MomentsTest, OfFewerThanTwoValuesHaveDeviationOne) {
  EXPECT_EQ(MomentsOf(MomentSums{}).mean, 0);
  EXPECT_EQ(MomentsOf(MomentSums{}).standard_deviation, 1);
  EXPECT_EQ(MomentsOf(SumsOf(std::vector<double>{3})).mean, 3);
  EXPECT_EQ(MomentsOf(SumsOf(std::vector<double>{3})).standard_deviation, 1);
  EXPECT_EQ(MomentsOf(std::vector<double>{3}).standard_deviation, 1);
}

TEST(MomentsTest, SurviveALargeOffset) {
  // Seconds since 1970 over one month: the spread is a thousandth of the mean.
  const std::vector<double> values = Uniform(500, 1.7e9, 2.6e6);

  const double from_sums = MomentsOf(SumsOf(values)).standard_deviation;

  EXPECT_NEAR(from_sums / MomentsOf(values).standard_deviation, 1, 1e-6);
}

TEST(MomentsTest, TakeASpreadThatCancellationDrownsForConstant) {
  const std::vector<double> values = Uniform(500, 1e15, 4);

  const Moments from_sums = MomentsOf(SumsOf(values));

  EXPECT_EQ(from_sums.standard_deviation, 1);
  EXPECT_GT(MomentsOf(values).standard_deviation, 0.5);
  EXPECT_LT(MomentsOf(values).standard_deviation, 2);
}

TEST(MomentsTest, NeverGiveANegativeOrUndefinedDeviation) {
  SeededRandom random(3);
  for (int i = 0; i < 2000; ++i) {
    const double offset = std::pow(10, 20 * random.NextDouble());
    const std::vector<double> values = {offset, offset + random.NextDouble(), offset};

    const Moments moments = MomentsOf(SumsOf(values));

    ASSERT_TRUE(std::isfinite(moments.mean));
    ASSERT_TRUE(std::isfinite(moments.standard_deviation));
    ASSERT_GT(moments.standard_deviation, 0);
  }
}

TEST(MomentsTest, OfSumsThatContradictEachOtherStayUsable) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<MomentSums> hostile = {{10, 100, -5},      {10, 100, 0},     {-3, 1, 1},
                                           {kNan, 1, 1},       {10, kNan, 1},    {10, 1, kNan},
                                           {10, kInfinity, 1}, {2, 1e300, 1e300}};
  // Squares so small that their mean is 0.
  EXPECT_EQ(MomentsOf({1e9, 0, std::numeric_limits<double>::denorm_min()}).standard_deviation, 1);
  for (const MomentSums& sums : hostile) {
    const Moments moments = MomentsOf(sums);
    EXPECT_TRUE(std::isfinite(moments.mean));
    EXPECT_EQ(moments.standard_deviation, 1);
  }
}

}  // namespace
}  // namespace chorale::data
