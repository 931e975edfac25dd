#include "secagg/parameters.h"

#include <gtest/gtest.h>

#include "secagg/refusal.h"

namespace chorale::secagg {
namespace {

TEST(ParametersTest, GivesTheThresholdsOfTheDesign) {
  const struct {
    std::uint32_t members, colluders, threshold;
  } kRows[] = {{3, 0, 2},        {3, 1, 3},        {4, 1, 3},       {5, 0, 3},      {5, 1, 4},
               {8, 0, 5},        {8, 1, 5},        {8, 2, 6},       {10, 1, 6},     {10, 2, 7},
               {10, 3, 7},       {20, 2, 12},      {20, 4, 13},     {20, 6, 14},    {50, 16, 34},
               {100, 10, 56},    {100, 20, 61},    {100, 33, 67},   {200, 66, 134}, {1000, 0, 501},
               {1000, 100, 551}, {1000, 200, 601}, {1000, 333, 667}};
  for (const auto& row : kRows) {
    EXPECT_EQ(ThresholdFor(row.members, row.colluders), row.threshold)
        << row.members << " " << row.colluders;
  }
}

TEST(ParametersTest, TakesTheLeastThresholdThatKeepsQuorumsTogether) {
  for (std::uint32_t n = 3; n <= 200; ++n) {
    for (std::uint32_t colluders = 0; colluders < n; ++colluders) {
      const std::uint32_t t = ThresholdFor(n, colluders);
      EXPECT_GT(2 * t, n + colluders);
      EXPECT_LE(2 * (t - 1), n + colluders);
    }
  }
}

TEST(ParametersTest, HasDefaultsThatPassItsOwnCheck) {
  EXPECT_EQ(DefaultColluders(3), 1u);
  EXPECT_EQ(DefaultColluders(9), 1u);
  EXPECT_EQ(DefaultColluders(10), 2u);
  EXPECT_EQ(DefaultMinGroup(3), 3u);
  EXPECT_EQ(DefaultMinGroup(4), 3u);
  EXPECT_EQ(DefaultMinGroup(5), 4u);
  EXPECT_EQ(DefaultMinGroup(6), 5u);
  EXPECT_EQ(DefaultMinGroup(1000), 5u);
  EXPECT_EQ(DefaultMinGroup(0), 3u);
  for (std::uint32_t n = kMinMembers; n <= kMaxMembers; ++n) {
    EXPECT_TRUE(CheckGroup(DefaultGroup(n), {}).ok()) << n;
  }
}

TEST(ParametersTest, LetsFourHospitalsLoseOne) {
  const GroupParameters group = DefaultGroup(4);

  EXPECT_EQ(group.colluders, 1u);
  EXPECT_EQ(group.threshold, 3u);
  EXPECT_EQ(group.min_group, 3u);
}

class CheckGroupTest : public ::testing::Test {
 protected:
  std::optional<RefusalCode> Check() const { return RefusalOf(CheckGroup(group_, policy_)); }

  GroupParameters group_ = DefaultGroup(10);  // 10, 2, 7, 5.
  GroupPolicy policy_;
};

TEST_F(CheckGroupTest, RefusesAMajorityThatIsNoQuorum) {
  for (const std::uint32_t threshold : {0u, 1u, 5u, 6u}) {
    group_.threshold = threshold;
    EXPECT_EQ(Check(), RefusalCode::kThresholdTooLow) << threshold;
  }
  group_.threshold = 7;
  EXPECT_EQ(Check(), std::nullopt);
}

TEST_F(CheckGroupTest, CountsTheSitesOwnColludersWhateverTheGroupSays) {
  group_.colluders = 0;
  group_.threshold = 6;
  EXPECT_EQ(Check(), RefusalCode::kThresholdTooLow);  // The default for ten is two.

  policy_.colluders = 1;
  EXPECT_EQ(Check(), std::nullopt);
  policy_.colluders = 4;
  group_.threshold = 7;
  EXPECT_EQ(MessageOf(CheckGroup(group_, policy_)),
            "THRESHOLD_TOO_LOW: the threshold of 10 members must be at least 8 against the 4 "
            "colluders of this site's "
            "policy, got 7");
}

TEST_F(CheckGroupTest, HoldsTheGroupToItsOwnColluders) {
  group_.colluders = 4;
  EXPECT_EQ(Check(), RefusalCode::kThresholdTooLow);
  group_.colluders = 10;
  EXPECT_EQ(Check(), RefusalCode::kParametersNotApproved);
}

TEST_F(CheckGroupTest, RefusesThresholdsThatNobodyReaches) {
  group_.threshold = 11;
  EXPECT_EQ(Check(), RefusalCode::kParametersNotApproved);
}

TEST_F(CheckGroupTest, RefusesGroupsBelowThePolicyAndBelowTheFloor) {
  group_.min_group = 2;
  EXPECT_EQ(Check(), RefusalCode::kGroupTooSmall);
  policy_.min_group = 0;  // A policy cannot ask for less than the floor.
  EXPECT_EQ(Check(), RefusalCode::kGroupTooSmall);
  group_.min_group = 5;
  policy_.min_group = 6;
  EXPECT_EQ(Check(), RefusalCode::kGroupTooSmall);
  policy_.min_group = 5;
  EXPECT_EQ(Check(), std::nullopt);
  group_.min_group = 11;
  EXPECT_EQ(Check(), RefusalCode::kParametersNotApproved);
}

TEST_F(CheckGroupTest, RefusesTooFewAndTooManyMembers) {
  policy_.min_members = 11;
  EXPECT_EQ(Check(), RefusalCode::kGroupTooSmall);
  policy_.min_members = 0;
  group_ = {2, 0, 2, 2};
  EXPECT_EQ(Check(), RefusalCode::kGroupTooSmall);
  group_ = {0, 0, 0, 0};
  EXPECT_EQ(Check(), RefusalCode::kGroupTooSmall);
  group_ = DefaultGroup(kMaxMembers + 1);
  EXPECT_EQ(Check(), RefusalCode::kParametersNotApproved);
}

}  // namespace
}  // namespace chorale::secagg
