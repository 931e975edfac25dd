#include "site_agent/local_normalization.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/site_agent/fixtures.h"

namespace chorale::site_agent {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

// hidden.weight [4], hidden.bias [2], norm's weight, bias, running mean and variance [2 each],
// out.weight [2], out.bias [1].
class LocalNormalizationTest : public testing::Test {
 protected:
  LocalNormalizationTest() { std::iota(counting_.begin(), counting_.end(), 0.0f); }

  models::GraphPlan plan_ = MakePlan(MakeNormSpec());
  ParameterVector counting_ = ParameterVector(17);  // 0, 1, 2, ...
};

TEST_F(LocalNormalizationTest, TakesTheNormLayersAlone) {
  EXPECT_EQ(NumNormalization(plan_), 8u);
  EXPECT_THAT(NormalizationOf(plan_, counting_), ElementsAre(6, 7, 8, 9, 10, 11, 12, 13));
}

TEST_F(LocalNormalizationTest, PutsThemBackWhereTheyWere) {
  ParameterVector parameters(17, -1);

  ASSERT_TRUE(OverlayNormalization(plan_, NormalizationOf(plan_, counting_), parameters).ok());

  EXPECT_THAT(parameters,
              ElementsAre(-1, -1, -1, -1, -1, -1, 6, 7, 8, 9, 10, 11, 12, 13, -1, -1, -1));
}

TEST_F(LocalNormalizationTest, RefusesThoseOfAnotherModel) {
  ParameterVector parameters(17, -1);

  EXPECT_FALSE(OverlayNormalization(plan_, ParameterVector(7), parameters).ok());
  EXPECT_FALSE(OverlayNormalization(plan_, ParameterVector(9), parameters).ok());
  EXPECT_FALSE(
      OverlayNormalization(plan_, ParameterVector(8), std::span(parameters).first(16)).ok());

  EXPECT_THAT(parameters, Each(-1));
}

TEST_F(LocalNormalizationTest, ClearsThemFromAnUpdate) {
  ParameterVector update(17, 2);

  ClearNormalization(plan_, update);

  EXPECT_THAT(update, ElementsAre(2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2));
}

TEST_F(LocalNormalizationTest, AModelWithoutNormLayersHasNone) {
  const models::GraphPlan plan = MakePlan(MakeJobSpec());
  ParameterVector update(3, 2);

  EXPECT_THAT(NormalizationOf(plan, update), IsEmpty());
  ClearNormalization(plan, update);
  EXPECT_THAT(update, Each(2));
}

}  // namespace
}  // namespace chorale::site_agent
