#include "site_agent/known_coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chorale::site_agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kOld[] = "0000000000000000000000000000000a";
constexpr char kNew[] = "0000000000000000000000000000000b";

CoordinatorState Told(std::string lineage, std::uint64_t epoch, std::uint64_t version) {
  return {.lineage = std::move(lineage),
          .epoch = epoch,
          .instance = "i" + std::to_string(epoch),
          .version = version};
}

KnownCoordinators After(const CoordinatorState& told) { return *Follow({}, told); }

void ExpectRefused(const KnownCoordinators& known, const CoordinatorState& told,
                   const std::string& why) {
  const auto followed = Follow(known, told);
  EXPECT_EQ(followed.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(followed.status()), HasSubstr(why));
}

TEST(KnownCoordinatorTest, FollowsTheFirstItMeetsAndThatOneAgain) {
  const KnownCoordinators known = After(Told(kOld, 3, 40));
  EXPECT_EQ(*Follow(known, Told(kOld, 3, 40)), known);
  EXPECT_EQ(Follow(known, Told(kOld, 4, 41))->current, Told(kOld, 4, 41));
}

TEST(KnownCoordinatorTest, FollowsNoOlderStartOfOneState) {
  ExpectRefused(After(Told(kOld, 3, 40)), Told(kOld, 2, 99), "a newer one has started");
}

TEST(KnownCoordinatorTest, FollowsOneOfTwoThatStartedFromCopies) {
  CoordinatorState other = Told(kOld, 3, 99);
  other.instance = "other";
  ExpectRefused(After(Told(kOld, 3, 40)), other, "a copy of its state directory");
}

TEST(KnownCoordinatorTest, FollowsNoDatabaseThatWasPutBack) {
  CoordinatorState told = Told(kOld, 4, 39);
  told.accepts_loss = true;  // Of a loss before this lineage, not of this one.
  ExpectRefused(After(Told(kOld, 3, 40)), told, "39 events, and one with 40");
}

TEST(KnownCoordinatorTest, FollowsARestoredStateThatLostNothing) {
  const auto known = Follow(After(Told(kOld, 3, 40)), Told(kNew, 1, 40));
  ASSERT_TRUE(known.ok()) << known.status();
  EXPECT_EQ(known->current, Told(kNew, 1, 40));
  EXPECT_THAT(known->retired, ElementsAre(kOld));
}

TEST(KnownCoordinatorTest, FollowsARestoredStateThatLostSomethingOnlyOnceItIsAccepted) {
  CoordinatorState told = Told(kNew, 1, 39);
  ExpectRefused(After(Told(kOld, 3, 40)), told, "accept-loss");
  told.accepts_loss = true;
  EXPECT_TRUE(Follow(After(Told(kOld, 3, 40)), told).ok());
}

TEST(KnownCoordinatorTest, NeverGoesBackToAStateThatItLeft) {
  const auto known = Follow(After(Told(kOld, 3, 40)), Told(kNew, 1, 40));
  CoordinatorState old = Told(kOld, 9, 99);
  old.accepts_loss = true;
  ExpectRefused(*known, old, "was replaced by another one");
}

TEST(KnownCoordinatorTest, ForgetsTheOldestBeyondItsBound) {
  KnownCoordinators known = After(Told(kOld, 1, 0));
  for (std::size_t i = 0; i < KnownCoordinators::kMostRetired + 5; ++i) {
    known = *Follow(known, Told("lineage " + std::to_string(i), 1, 0));
  }
  EXPECT_EQ(known.retired.size(), KnownCoordinators::kMostRetired);
}

}  // namespace
}  // namespace chorale::site_agent
