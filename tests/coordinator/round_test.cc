#include "coordinator/round.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace chorale::coordinator {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::VariantWith;

const SiteId kEast("east");
const SiteId kNorth("north");
const SiteId kSouth("south");
const SiteId kStranger("stranger");
const Time kStart{seconds(1'000'000)};
constexpr Duration kDeadline = seconds(60);
constexpr Duration kGrace = seconds(6);

Report ReportOf(std::uint64_t num_examples) {
  return {.payload = {.size_bytes = 4, .digest = {static_cast<std::uint8_t>(num_examples)}},
          .num_examples = num_examples};
}

class RoundTest : public testing::Test {
 protected:
  StatusCode CodeOf(const RoundEvent& event, Time now = kStart) {
    return round_.Step(event, now).status().code();
  }
  std::vector<RoundAction> Do(const RoundEvent& event, Time now = kStart) {
    const auto actions = round_.Step(event, now);
    EXPECT_TRUE(actions.ok()) << actions.status();
    return actions.ok() ? *actions : std::vector<RoundAction>();
  }
  template <typename State>
  bool Is() const {
    return std::holds_alternative<State>(round_.state());
  }
  template <typename Status>
  bool Has(const SiteId& site) const {
    return std::holds_alternative<Status>(round_.sites().at(site));
  }

  Round round_ = *Round::Create({RoundNumber(1), 1}, {kEast, kNorth, kSouth},
                                {.min_reports = 2, .deadline = kDeadline}, kStart);
};

TEST_F(RoundTest, RefusesACohortBelowTheQuorum) {
  const auto round = Round::Create({RoundNumber(1), 1}, {kEast},
                                   {.min_reports = 2, .deadline = kDeadline}, kStart);

  EXPECT_EQ(round.status().code(), StatusCode::kInvalidArgument);
}

TEST_F(RoundTest, RefusesACohortThatNamesASiteTwice) {
  const auto round = Round::Create({RoundNumber(1), 1}, {kEast, kEast},
                                   {.min_reports = 2, .deadline = kDeadline}, kStart);

  EXPECT_EQ(round.status().code(), StatusCode::kInvalidArgument);
}

TEST_F(RoundTest, RefusesARoundWithoutTime) {
  const auto round =
      Round::Create({RoundNumber(1), 1}, {kEast}, {.min_reports = 1, .deadline = {}}, kStart);

  EXPECT_EQ(round.status().code(), StatusCode::kInvalidArgument);
}

TEST_F(RoundTest, APauseMovesEveryDeadlineByAsMuch) {
  Do(ConnectionLost{kSouth});
  Do(Paused{seconds(3600)});

  EXPECT_EQ(round_.report_deadline(), kStart + kDeadline + seconds(3600));
  EXPECT_EQ(round_.NextDeadline(), kStart + kDeadline + seconds(3600));
  EXPECT_EQ(CodeOf(Paused{Duration(0)}), StatusCode::kInvalidArgument);
  Do(ReportReceived{kEast, ReportOf(1)}, kStart + seconds(3650));
  Do(ReportReceived{kNorth, ReportOf(2)}, kStart + seconds(3650));
  EXPECT_EQ(CodeOf(Paused{seconds(1)}), StatusCode::kFailedPrecondition);  // Nobody is waited for.
}

TEST_F(RoundTest, AsksTheWholeCohortAtFirst) {
  EXPECT_THAT(round_.OutstandingActions(),
              ElementsAre(RoundAction(AskSite{kEast}), RoundAction(AskSite{kNorth}),
                          RoundAction(AskSite{kSouth})));
  EXPECT_EQ(round_.NextDeadline(), kStart + kDeadline);
}

TEST_F(RoundTest, SumsAsSoonAsEverySiteHasReported) {
  Do(ReportReceived{kEast, ReportOf(1)});
  Do(ReportReceived{kNorth, ReportOf(2)});

  EXPECT_THAT(Do(ReportReceived{kSouth, ReportOf(3)}), ElementsAre(RoundAction(SumReports{})));
  EXPECT_TRUE(Is<Aggregating>());
  EXPECT_EQ(round_.NextDeadline(), std::nullopt);
  EXPECT_EQ(round_.Contributors().at(kNorth).num_examples, 2u);
}

TEST_F(RoundTest, PublishesOnceTheSumIsDurable) {
  for (const SiteId& site : {kEast, kNorth, kSouth}) Do(ReportReceived{site, ReportOf(1)});

  EXPECT_THAT(Do(SumReady{}), IsEmpty());
  EXPECT_TRUE(Is<Published>());
}

TEST_F(RoundTest, IsAbandonedWithTheReasonWhenSummingFails) {
  for (const SiteId& site : {kEast, kNorth, kSouth}) Do(ReportReceived{site, ReportOf(1)});
  Do(SumFailed{"disk full"});

  ASSERT_TRUE(Is<Abandoned>());
  EXPECT_EQ(std::get<Abandoned>(round_.state()).reason, "disk full");
}

TEST_F(RoundTest, TakesTheSameReportOnlyOnce) {
  Do(ReportReceived{kSouth, ReportOf(10)});

  EXPECT_EQ(CodeOf(ReportReceived{kSouth, ReportOf(10)}), StatusCode::kAlreadyExists);
  EXPECT_TRUE(Is<Collecting>());
}

TEST_F(RoundTest, RefusesAnotherReportOfTheSameSiteAndStaysInPlace) {
  Do(ReportReceived{kSouth, ReportOf(10)});

  EXPECT_EQ(CodeOf(ReportReceived{kSouth, ReportOf(99)}), StatusCode::kFailedPrecondition);
  EXPECT_EQ(round_.Contributors().at(kSouth).num_examples, 10u);
}

TEST_F(RoundTest, RefusesSitesOutsideTheCohort) {
  EXPECT_EQ(CodeOf(ReportReceived{kStranger, ReportOf(1)}), StatusCode::kPermissionDenied);
  EXPECT_EQ(CodeOf(TaskRefusal{kStranger, {}}), StatusCode::kPermissionDenied);
  EXPECT_EQ(CodeOf(ConnectionLost{kStranger}), StatusCode::kPermissionDenied);
}

TEST_F(RoundTest, RefusesAReportAfterClosing) {
  Do(ReportReceived{kEast, ReportOf(1)});
  Do(ReportReceived{kNorth, ReportOf(2)});
  Do(DeadlineReached{}, kStart + kDeadline);

  EXPECT_EQ(CodeOf(ReportReceived{kSouth, ReportOf(3)}, kStart + kDeadline),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(ReportReceived{kEast, ReportOf(1)}, kStart + kDeadline),
            StatusCode::kAlreadyExists);
}

TEST_F(RoundTest, RefusesAReportAtTheDeadlineEvenBeforeTheDriverSaysSo) {
  EXPECT_EQ(CodeOf(ReportReceived{kEast, ReportOf(1)}, kStart + kDeadline),
            StatusCode::kFailedPrecondition);
}

TEST_F(RoundTest, ClosesAtTheDeadlineAndNamesStragglers) {
  Do(ReportReceived{kEast, ReportOf(1)});
  Do(ReportReceived{kNorth, ReportOf(2)});

  const auto actions = Do(DeadlineReached{}, kStart + kDeadline);

  ASSERT_EQ(actions.size(), 2u);
  EXPECT_THAT(std::get<StopSites>(actions[0]).sites, ElementsAre(kSouth));
  EXPECT_THAT(actions[1], VariantWith<SumReports>(SumReports{}));
  EXPECT_TRUE(Has<Straggler>(kSouth));
}

TEST_F(RoundTest, DoesNotTakeADeadlineThatHasNotCome) {
  EXPECT_EQ(CodeOf(DeadlineReached{}, kStart + kDeadline - Duration(1)),
            StatusCode::kFailedPrecondition);
}

TEST_F(RoundTest, IsAbandonedBelowTheQuorumAndTellsWhoWasMissingAndWhy) {
  Do(ReportReceived{kNorth, ReportOf(1)});
  Do(ConnectionLost{kSouth});
  Do(DeadlineReached{}, kStart + kDeadline);

  ASSERT_TRUE(Is<Abandoned>());
  EXPECT_EQ(std::get<Abandoned>(round_.state()).reason,
            "1 of the 2 reports needed arrived: east did not report within 1 min, south dropped "
            "(connection lost)");
}

TEST_F(RoundTest, ClosesAtOnceWhenEverybodyElseRefuses) {
  Do(TaskRefusal{kEast, {"MODEL_NOT_ALLOWED", "no"}});
  Do(ReportReceived{kNorth, ReportOf(1)});
  Do(TaskRefusal{kSouth, {"BUSY", "later"}});

  ASSERT_TRUE(Is<Abandoned>());
  EXPECT_THAT(std::get<Abandoned>(round_.state()).reason,
              HasSubstr("east refused (MODEL_NOT_ALLOWED: no)"));
}

TEST_F(RoundTest, ARefusalIsFinal) {
  Do(TaskRefusal{kEast, {"BUSY", "later"}});

  EXPECT_EQ(CodeOf(ReportReceived{kEast, ReportOf(1)}), StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(TaskRefusal{kEast, {"BUSY", "later"}}), StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(ConnectionLost{kEast}), StatusCode::kFailedPrecondition);
}

TEST_F(RoundTest, WaitsForADroppedSiteNoLongerThanItsGrace) {
  Do(ReportReceived{kEast, ReportOf(1)});
  Do(ReportReceived{kNorth, ReportOf(2)});
  Do(ConnectionLost{kSouth});
  ASSERT_EQ(round_.NextDeadline(), kStart + kGrace);

  Do(DeadlineReached{}, kStart + kGrace);

  EXPECT_TRUE(Is<Aggregating>());
  EXPECT_TRUE(Has<Dropped>(kSouth));
}

TEST_F(RoundTest, AsksAReturningSiteAgain) {
  Do(ConnectionLost{kSouth});

  EXPECT_THAT(Do(ConnectionBack{kSouth}, kStart + seconds(30)),
              ElementsAre(RoundAction(AskSite{kSouth})));
  EXPECT_TRUE(Has<Pending>(kSouth));
}

TEST_F(RoundTest, TakesTheReportOfADroppedSite) {
  Do(ConnectionLost{kSouth});
  Do(ReportReceived{kSouth, ReportOf(3)});

  EXPECT_TRUE(Has<Report>(kSouth));
}

TEST_F(RoundTest, NeverWaitsBeyondTheDeadlineForADroppedSite) {
  Do(ReportReceived{kEast, ReportOf(1)});
  Do(ReportReceived{kNorth, ReportOf(2)});
  Do(ConnectionLost{kSouth}, kStart + seconds(58));

  EXPECT_EQ(round_.NextDeadline(), kStart + kDeadline);
}

TEST_F(RoundTest, AsksOnlyPendingSitesAgainAfterACrash) {
  Do(ReportReceived{kEast, ReportOf(1)});
  Do(ConnectionLost{kNorth});

  EXPECT_THAT(round_.OutstandingActions(), ElementsAre(RoundAction(AskSite{kSouth})));
}

TEST_F(RoundTest, SumsAgainAfterACrash) {
  for (const SiteId& site : {kEast, kNorth, kSouth}) Do(ReportReceived{site, ReportOf(1)});

  EXPECT_THAT(round_.OutstandingActions(), ElementsAre(RoundAction(SumReports{})));
}

TEST_F(RoundTest, ATenthOfTheDeadlineButASecondAtLeastIsTheGrace) {
  EXPECT_EQ(ReconnectGrace(seconds(600)), Duration(seconds(60)));
  EXPECT_EQ(ReconnectGrace(seconds(2)), Duration(seconds(1)));
}

}  // namespace
}  // namespace chorale::coordinator
