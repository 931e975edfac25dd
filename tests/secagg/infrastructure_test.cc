#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/crypto/digest.h"
#include "secagg/round_messages.h"
#include "tests/secagg/federation.h"

// Crashes, clocks, and several sessions.
namespace chorale::secagg {
namespace {

// ------------------------------------------------------------------------------ crash and clocks

// A coordinator that comes back after each of its steps, by replaying what it had heard.
TEST(InfrastructureTest, ACoordinatorThatRestartsBetweenStepsGoesOnWhereItWas) {
  Federation federation({.num_members = 5});
  federation.SetUp();
  ASSERT_TRUE(federation.Run(1).is_revealed);
  const std::vector<ServerEvent>& events = federation.server_events();

  for (std::size_t crash = 0; crash <= events.size(); ++crash) {
    auto back = ServerSession::Create(federation.ServerOptionsNow(), federation.now);
    ASSERT_TRUE(back.ok());
    for (std::size_t i = 0; i < crash; ++i) {
      ASSERT_TRUE(back->Step(events[i], federation.now).ok());
    }
    // What it asks again is, to the byte, what it asked before: so sites answer with what they
    // sent before.
    for (const ServerAction& action : back->OutstandingActions()) {
      const auto is_known = [&](MessageKind kind, const Bytes& message) {
        return std::ranges::any_of(federation.transcript(), [&](const Crossing& crossing) {
          return crossing.kind == kind && crossing.message == message;
        });
      };
      if (const auto* broadcast = std::get_if<Broadcast>(&action)) {
        EXPECT_TRUE(broadcast->kind == MessageKind::kSessionManifest ||
                    is_known(broadcast->kind, broadcast->message));
      } else {
        const auto& send = std::get<SendTo>(action);
        EXPECT_TRUE(is_known(send.kind, send.message));
      }
    }
    for (std::size_t i = crash; i < events.size(); ++i) {
      ASSERT_TRUE(back->Step(events[i], federation.now).ok());
    }
    EXPECT_TRUE(std::holds_alternative<Ready>(back->state()));
  }
}

TEST(InfrastructureTest, ASiteThatIsAskedAgainSendsTheSameBytes) {
  Federation federation;
  federation.SetUp();
  federation.Start(1);
  federation.Collect();
  federation.Check();
  federation.Unmask();
  std::map<MessageKind, std::set<Bytes>> sent;
  for (const Crossing& crossing : federation.transcript()) {
    if (crossing.is_from_site && crossing.member == 0) sent[crossing.kind].insert(crossing.message);
  }
  std::size_t repeated = 0;
  const std::vector<Crossing> transcript = federation.transcript();
  for (const Crossing& crossing : transcript) {
    if (crossing.is_from_site || crossing.member != 0) continue;
    StatusOr<std::vector<ClientAction>> again = std::vector<ClientAction>();
    switch (crossing.kind) {
      case MessageKind::kShareDelivery:
        again = federation.Step(0, SharesReceived{crossing.message});
        break;
      case MessageKind::kRoundStart:
        again = federation.Step(0, federation.Started(crossing.message));
        break;
      case MessageKind::kSurvivors:
        again = federation.Step(0, SurvivorsReceived{crossing.message});
        break;
      case MessageKind::kConsistencySignatures:
        again = federation.Step(0, SignaturesReceived{crossing.message});
        break;
      default:
        continue;
    }
    ASSERT_TRUE(again.ok()) << again.status();
    for (const ClientAction& action : *again) {
      const auto& send = std::get<Send>(action);
      EXPECT_TRUE(sent[send.kind].contains(send.message));
      ++repeated;
    }
  }
  const auto manifest = federation.Step(0, ManifestReceived{federation.server().manifest()});
  EXPECT_TRUE(sent[MessageKind::kAdvertiseKeys].contains(OnlySend(manifest)));
  EXPECT_EQ(repeated, 4u);
}

TEST(InfrastructureTest, ClocksMayDifferByTenMinutesAndDeadlinesMoveAlong) {
  for (const int minutes : {-10, 10}) {
    Federation federation;
    const Time coordinator = federation.now;
    const auto at_site = [&](auto step) {
      federation.now = coordinator + std::chrono::minutes(minutes);
      auto result = step();
      federation.now = coordinator;
      return result;
    };
    federation.SetUp();
    federation.Start(1);
    const Bytes start = *federation.MessageTo(0);

    ASSERT_TRUE(at_site([&] { return federation.Step(0, federation.Started(start)); }).ok());

    EXPECT_EQ(federation.site(0).round()->deadline,
              coordinator + std::chrono::minutes(minutes + 30));
  }
}

TEST(InfrastructureTest, ClocksThatDifferByMoreAreRefused) {
  Federation federation;
  federation.SetUp();
  federation.Start(1);
  const Bytes start = *federation.MessageTo(0);
  federation.now -= std::chrono::minutes(11);

  EXPECT_EQ(RefusalIn(federation.Step(0, federation.Started(start))), RefusalCode::kClockSkew);
  ClientSession fresh = *ClientSession::Create(federation.OptionsOf(0));
  EXPECT_EQ(RefusalIn(fresh.Step(ManifestReceived{federation.server().manifest()}, federation.now)),
            RefusalCode::kClockSkew);
}

// A message of 25 minutes ago: ten of them may be the clocks' difference, fifteen are spent.
TEST(InfrastructureTest, AMessageThatWasLongUnderWayLeavesLessTime) {
  Federation federation;
  federation.SetUp();
  federation.Start(1);
  const Bytes start = *federation.MessageTo(0);
  const Time sent_at = federation.now;

  federation.now = sent_at + std::chrono::minutes(25);
  ASSERT_TRUE(federation.Step(0, federation.Started(start)).ok());
  EXPECT_EQ(federation.site(0).round()->deadline, sent_at + std::chrono::minutes(40));

  federation.now = sent_at + std::chrono::minutes(41);
  EXPECT_EQ(RefusalIn(federation.Step(1, federation.Started(start))), RefusalCode::kSessionExpired);
}

TEST(InfrastructureTest, ARoundPastItsDeadlineIsErasedAndNeverUnmasked) {
  Federation federation;
  federation.SetUp();
  federation.Start(1);
  federation.Collect();
  federation.Check();
  const Bytes signatures = *federation.MessageTo(0);
  federation.now += std::chrono::minutes(31);

  EXPECT_EQ(RefusalIn(federation.Step(0, SignaturesReceived{signatures})),
            RefusalCode::kSessionExpired);
  const auto passed = federation.Step(0, TimePassed{});

  ASSERT_TRUE(passed.ok());
  EXPECT_EQ(std::get<Withdraw>(passed->front()).round, 1u);
  federation.now -= std::chrono::minutes(31);
  EXPECT_EQ(RefusalIn(federation.Step(0, SignaturesReceived{signatures})),
            RefusalCode::kRoundAborted);
}

TEST(InfrastructureTest, ASessionPastItsLifetimeIsOver) {
  Federation federation;
  federation.SetUp();
  federation.now += std::chrono::hours(25);

  EXPECT_EQ(
      RefusalIn(federation.Step(
          0, federation.Started(federation.Start(federation.Terms(1, federation.Everybody()))))),
      RefusalCode::kSessionExpired);
  EXPECT_EQ(RefusalIn(federation.Step(RoundRequested{.round = 1,
                                                     .participants = federation.Everybody(),
                                                     .vector_bytes = 4,
                                                     .deadline = federation.now})),
            RefusalCode::kSessionExpired);
  ASSERT_TRUE(federation.Step(0, TimePassed{}).ok());
  EXPECT_TRUE(std::holds_alternative<Closed>(federation.site(0).state()));
}

// ------------------------------------------------------------------------------ two sessions

TEST(InfrastructureTest, TwoSessionsOfOneSiteShareNoKeyAndAcceptNothingOfEachOther) {
  Federation one({.seed = 5, .nonce = 1});
  Federation two({.seed = 5, .nonce = 2});
  // The same chance in both: what differs is the nonce alone, and still no mask is the same.
  one.SetUp();
  two.SetUp();
  ASSERT_NE(one.view().id(), two.view().id());
  one.Start(1);
  two.Start(1);
  std::set<Bytes> keys;
  for (Federation* federation : {&one, &two}) {
    const auto actions = federation->Step(0, federation->Started(*federation->MessageTo(0)));
    for (const OwnedMaskTerm& term : std::get<MaskInput>(actions->front()).terms) {
      keys.insert(Bytes(term.key.Reveal().begin(), term.key.Reveal().end()));
    }
  }
  EXPECT_EQ(keys.size(), 10u);
  EXPECT_EQ(RefusalIn(two.Step(1, two.Started(*one.MessageTo(1)))), RefusalCode::kWrongSession);
  EXPECT_EQ(RefusalIn(two.Step(0, SurvivorsReceived{one.Survivors(1, one.Everybody())})),
            RefusalCode::kWrongSession);
}

}  // namespace
}  // namespace chorale::secagg
