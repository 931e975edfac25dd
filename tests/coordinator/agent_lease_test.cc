#include "coordinator/agent_lease.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/engine_fixture.h"

namespace chorale::coordinator {
namespace {

using testing::Contains;
using testing::HasSubstr;

const std::string kOne(32, '1');
const std::string kTwo(32, '2');

// Sites that tell which state directory they work from.
class AgentLeaseTest : public EngineTest {
 protected:
  FakeChannel& Greet(const std::string& lineage, std::uint64_t epoch, const std::string& instance,
                     std::optional<LedgerReceipt> ledger = {}, std::optional<Time> clock = {}) {
    const SessionId id(next_session_++);
    auto channel = std::make_shared<FakeChannel>(clock_);
    const identity::Identity identity = Pki().Load(v1::PARTY_ROLE_SITE, "north");
    engine_->SessionOpened(
        id, {.site = SiteId("north"),
             .certificate = std::make_shared<const crypto::Certificate>(identity.certificate()),
             .channel = channel,
             .greeting = {}});
    engine_->SessionGreeted(id, {.agent_version = "0.1.0",
                                 .clock = clock,
                                 .instance = instance,
                                 .lineage = lineage,
                                 .epoch = epoch,
                                 .ledger = ledger});
    MustCommit();
    if (!channel->closed.has_value()) {
      channels_["north"] = channel;
      sessions_["north"] = id;
    }
    all_.push_back(channel);
    return *channel;
  }
  std::string WhyRefused(const FakeChannel& channel) {
    if (!channel.closed.has_value()) return "not refused";
    EXPECT_EQ(channel.closed->code(), StatusCode::kFailedPrecondition);
    return MessageOf(*channel.closed);
  }
  v1::SiteSummary North() {
    for (const v1::SiteSummary& site : engine_->Sites()) {
      if (site.site() == "north") return site;
    }
    return {};
  }
  std::vector<std::string> Problems() {
    const v1::SiteSummary north = North();
    return {north.problems().begin(), north.problems().end()};
  }
  std::vector<std::shared_ptr<FakeChannel>> all_;
};

TEST_F(AgentLeaseTest, ARestartedAgentTakesThePlaceOfTheOneBefore) {
  const FakeChannel& older = Greet(kOne, 1, "a");
  const FakeChannel& newer = Greet(kOne, 2, "b");
  EXPECT_EQ(older.closed->code(), StatusCode::kAborted);
  EXPECT_FALSE(newer.closed.has_value());
}

TEST_F(AgentLeaseTest, OneAgentConnectsAgainAsOftenAsItLikes) {
  Greet(kOne, 1, "a");
  EXPECT_FALSE(Greet(kOne, 1, "a").closed.has_value());
}

TEST_F(AgentLeaseTest, AnotherStateDirectoryIsRefusedWhileTheFirstIsConnected) {
  const FakeChannel& first = Greet(kOne, 1, "a");

  const FakeChannel& second = Greet(kTwo, 7, "b");

  EXPECT_THAT(WhyRefused(second), HasSubstr("another agent of site north is connected"));
  EXPECT_TRUE(second.sent.empty());
  EXPECT_FALSE(first.closed.has_value());
  EXPECT_TRUE(North().is_connected());
  EXPECT_THAT(Problems(), Contains(HasSubstr("an agent was refused at")));
  Disconnect("north");
  EXPECT_FALSE(Greet(kTwo, 7, "b").closed.has_value());  // As after a move to another host.
}

TEST_F(AgentLeaseTest, AnOlderStartIsRefusedAlsoAfterTheCoordinatorStartedAgain) {
  Greet(kOne, 2, "b");
  EXPECT_THAT(WhyRefused(Greet(kOne, 1, "a")), HasSubstr("a newer agent of site north"));
  Restart();
  EXPECT_THAT(WhyRefused(Greet(kOne, 1, "a")), HasSubstr("(start 2, this is 1)"));
}

TEST_F(AgentLeaseTest, OfTwoCopiesThatStartedAsOftenTheSecondIsRefused) {
  Greet(kOne, 2, "a");
  EXPECT_THAT(WhyRefused(Greet(kOne, 2, "b")), HasSubstr("on a copy of this state directory"));
}

TEST_F(AgentLeaseTest, TheHighestLedgerRowIsKeptAndHandedBack) {
  const LedgerReceipt seven{7, {1}};
  const FakeChannel& first = Greet(kOne, 1, "a", seven);
  EXPECT_FALSE(first.sent[0].hello().has_ledger_receipt());  // None was kept before.
  engine_->LedgerTold(sessions_.at("north"), {9, {2}});
  MustCommit();
  Restart();

  const FakeChannel& again = Greet(kOne, 2, "b", seven);  // From an older copy.

  EXPECT_EQ(again.sent[0].hello().ledger_receipt().seq(), 9u);
  EXPECT_EQ(again.sent[0].hello().ledger_receipt().digest()[0], '\2');
  EXPECT_THAT(Problems(), Contains(HasSubstr("lacks row 9")));
  engine_->LedgerTold(sessions_.at("north"), {10, {3}});
  EXPECT_TRUE(Problems().empty());
}

TEST_F(AgentLeaseTest, ALostLedgerIsSeenToo) {
  Greet(kOne, 1, "a", LedgerReceipt{7, {1}});
  Greet(kOne, 2, "b");
  EXPECT_THAT(Problems(), Contains(HasSubstr("lacks row 7")));
}

TEST_F(AgentLeaseTest, AnotherRowOfTheSameNumberIsARollbackToo) {
  Greet(kOne, 1, "a", LedgerReceipt{7, {1}});
  EXPECT_EQ(Greet(kOne, 2, "b", LedgerReceipt{7, {2}}).sent[0].hello().ledger_receipt().digest()[0],
            '\1');
  EXPECT_THAT(Problems(), Contains(HasSubstr("lacks row 7")));
}

TEST_F(AgentLeaseTest, AClockThatIsOffIsTold) {
  Greet(kOne, 1, "a", {}, clock_.WallNow() + std::chrono::seconds(30));
  EXPECT_TRUE(Problems().empty());
  Greet(kOne, 1, "a", {}, clock_.WallNow() + std::chrono::hours(1));
  EXPECT_THAT(Problems(), Contains(HasSubstr("its clock is 1 h ahead of the coordinator's")));
  EXPECT_EQ(North().clock_skew().seconds(), 3600);
  Greet(kOne, 1, "a", {}, clock_.WallNow() - std::chrono::hours(1));
  EXPECT_THAT(Problems(), Contains(HasSubstr("its clock is 1 h behind the coordinator's")));
}

}  // namespace
}  // namespace chorale::coordinator
