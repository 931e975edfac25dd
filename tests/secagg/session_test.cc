#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "core/crypto/digest.h"
#include "secagg/round_messages.h"
#include "tests/secagg/federation.h"

// What holds of every round, whoever drops out and wherever.
namespace chorale::secagg {
namespace {

constexpr DropPoint kPoints[] = {DropPoint::kNever,        DropPoint::kBeforeKeys,
                                 DropPoint::kAfterKeys,    DropPoint::kAfterShares,
                                 DropPoint::kBeforeUpload, DropPoint::kDuringUpload,
                                 DropPoint::kAfterUpload,  DropPoint::kAfterSignature};

std::vector<Section> EveryRing() {
  return {{RingBits::k32, 9}, {RingBits::k16, 5}, {RingBits::k24, 7}, {RingBits::k64, 3}};
}

std::vector<MemberIndex> StillThere(const Drops& drops, std::uint32_t num_members,
                                    DropPoint until) {
  std::vector<MemberIndex> members;
  for (MemberIndex i = 0; i < num_members; ++i) {
    const auto drop = drops.find(i);
    const bool is_here =
        drop == drops.end() || drop->second == DropPoint::kNever || drop->second > until;
    if (is_here) members.push_back(i);
  }
  return members;
}

// For each dealer and holder, one kind of share at most (I3).
void ExpectOneKindOfShare(const Federation& federation) {
  std::set<std::tuple<std::uint32_t, MemberIndex, MemberIndex>> seeds;
  std::set<std::tuple<std::uint32_t, MemberIndex, MemberIndex>> keys;
  for (const Crossing& crossing : federation.transcript()) {
    if (crossing.kind != MessageKind::kUnmasking) continue;
    const auto parts = SplitMessage(crossing.kind, crossing.message);
    const auto shares = DecodeUnmasking(parts->body);
    for (const DealerShare& one : shares->seeds) {
      seeds.insert({shares->round, shares->member, one.dealer});
    }
    for (const DealerShare& one : shares->keys) {
      keys.insert({shares->round, shares->member, one.dealer});
    }
  }
  for (const auto& one : keys) EXPECT_FALSE(seeds.contains(one));
}

// Runs set-up and a round with these drop-outs and checks that it ends as counting says.
void ExpectTheSumOrNothing(std::uint32_t num_members, std::uint64_t seed, const Drops& drops) {
  Federation federation(
      {.num_members = num_members, .num_rounds = 1, .seed = seed, .sections = EveryRing()});
  federation.SetUp(drops);
  Outcome outcome;
  if (std::holds_alternative<Ready>(federation.server().state()))
    outcome = federation.Run(1, drops);

  const std::size_t least = federation.server().terms().least_set();
  const std::size_t threshold = federation.server().terms().group.threshold;
  const auto left = [&](DropPoint until) { return StillThere(drops, num_members, until); };
  const std::vector<MemberIndex> uploaded = left(DropPoint::kDuringUpload);
  const bool is_due = left(DropPoint::kAfterShares).size() >= least && uploaded.size() >= least &&
                      left(DropPoint::kAfterUpload).size() >= threshold &&
                      left(DropPoint::kAfterSignature).size() >= threshold;
  ASSERT_EQ(outcome.is_revealed, is_due) << outcome.reason;
  if (is_due) {
    EXPECT_EQ(outcome.survivors, uploaded);
    EXPECT_EQ(outcome.sum, federation.SumOf(uploaded));
  }
  EXPECT_TRUE(outcome.blamed.empty());
  ExpectOneKindOfShare(federation);
}

TEST(SessionTest, RevealsTheSumOfEverybodyAndNothingElse) {
  Federation federation({.sections = EveryRing()});
  federation.SetUp();

  const Outcome outcome = federation.Run(1);

  ASSERT_TRUE(outcome.is_revealed) << outcome.reason;
  EXPECT_EQ(outcome.survivors, federation.Everybody());
  EXPECT_EQ(outcome.sum, federation.SumOf(federation.Everybody()));
}

TEST(SessionTest, ThreeSitesThatDropAnywhereGiveTheSumOrNothing) {
  for (const DropPoint first : kPoints) {
    for (const DropPoint second : kPoints) {
      for (const DropPoint third : {DropPoint::kNever, DropPoint::kAfterUpload}) {
        ExpectTheSumOrNothing(3, 3, {{0, first}, {1, second}, {2, third}});
      }
    }
  }
}

TEST(SessionTest, UpToTwelveSitesThatDropAnywhereGiveTheSumOrNothing) {
  SeededRandom random(20);
  for (int trial = 0; trial < 60; ++trial) {
    const auto num_members = static_cast<std::uint32_t>(4 + random.NextBelow(9));
    Drops drops;
    const std::uint64_t most = random.NextBelow(5);
    for (std::uint64_t i = 0; i < most; ++i) {
      drops[static_cast<MemberIndex>(random.NextBelow(num_members))] =
          kPoints[random.NextBelow(std::size(kPoints))];
    }
    SCOPED_TRACE(trial);
    ExpectTheSumOrNothing(num_members, 100 + static_cast<std::uint64_t>(trial), drops);
  }
}

TEST(SessionTest, AsManyDropOutsAsTheThresholdAllowsAtEveryPointAndNoMore) {
  for (const DropPoint point : kPoints) {
    if (point == DropPoint::kNever) continue;
    for (const std::uint32_t num_members : {8u, 10u}) {
      const std::uint32_t threshold = ThresholdFor(num_members, DefaultColluders(num_members));
      Drops drops;
      for (MemberIndex i = 0; i < num_members - threshold; ++i) drops[i] = point;
      ExpectTheSumOrNothing(num_members, 40, drops);
      drops[num_members - 1] = point;
      ExpectTheSumOrNothing(num_members, 40, drops);
    }
  }
}

TEST(SessionTest, ManyRoundsOfOneSessionGiveTheirSums) {
  Federation federation({.num_members = 6, .num_rounds = 8});
  federation.SetUp();
  SeededRandom random(4);
  for (std::uint32_t round = 1; round <= 8; ++round) {
    federation.model = DigestOf(static_cast<std::uint8_t>(round));
    Drops drops;
    if (round % 2 == 0) {
      drops[static_cast<MemberIndex>(random.NextBelow(6))] = DropPoint::kBeforeUpload;
    }

    const Outcome outcome = federation.Run(round, drops);

    ASSERT_TRUE(outcome.is_revealed) << outcome.reason;
    EXPECT_EQ(outcome.sum, federation.SumOf(outcome.survivors));
  }
  ExpectOneKindOfShare(federation);
}

TEST(SessionTest, ASiteAwayAtTheStartCostsNothingAndComesBack) {
  Federation federation({.num_members = 6});
  federation.SetUp();

  const Outcome without = federation.Run(1, {}, {0, 1, 2, 4, 5});
  federation.model = DigestOf(2);
  const Outcome with = federation.Run(2);

  ASSERT_TRUE(without.is_revealed) << without.reason;
  EXPECT_EQ(without.sum, federation.SumOf({0, 1, 2, 4, 5}));
  ASSERT_TRUE(with.is_revealed) << with.reason;
  EXPECT_EQ(with.sum, federation.SumOf(federation.Everybody()));
}

TEST(SessionTest, ASessionGoesOnAfterAnAbandonedRound) {
  Federation federation({.num_members = 5});
  federation.SetUp();
  const Drops two = {{1, DropPoint::kBeforeUpload}, {2, DropPoint::kBeforeUpload}};

  const Outcome first = federation.Run(1, two);
  const Outcome second = federation.Run(2);

  EXPECT_FALSE(first.is_revealed);
  EXPECT_EQ(RefusalOf(first.reason), RefusalCode::kGroupTooSmall);
  ASSERT_TRUE(second.is_revealed) << second.reason;
  EXPECT_EQ(second.sum, federation.SumOf(federation.Everybody()));
}

TEST(SessionTest, AResultEndsTheRoundAtTheSites) {
  Federation federation;
  federation.SetUp();
  const Outcome outcome = federation.Run(1);
  const Bytes result = *federation.MessageTo(0);

  ASSERT_TRUE(federation.Step(0, ResultReceived{result, crypto::Sha256(outcome.sum)}).ok());

  EXPECT_EQ(federation.site(0).round(), nullptr);
  const auto other = federation.Step(1, ResultReceived{result, DigestOf(9)});
  EXPECT_EQ(other.status().code(), StatusCode::kDataLoss);
  EXPECT_NE(federation.site(1).round(), nullptr);
}

TEST(SessionTest, GivesNoMaskTermsBeforeEnoughSharesAreHere) {
  Federation federation;
  federation.SetUp();
  federation.Start(1);
  federation.Collect();
  federation.Check();
  for (const MemberIndex member : {0u, 1u, 2u}) {
    const Bytes signatures = *federation.MessageTo(member);
    const Bytes unmasking = OnlySend(federation.Step(member, SignaturesReceived{signatures}));
    const auto actions =
        federation.Step(MessageReceived{member, MessageKind::kUnmasking, unmasking});
    ASSERT_TRUE(actions.ok());
    EXPECT_TRUE(actions->empty());
  }

  const auto closed = federation.Step(StepClosed{});

  ASSERT_TRUE(closed.ok());
  ASSERT_EQ(closed->size(), 1u);
  EXPECT_TRUE(std::holds_alternative<Abandon>(closed->front()));
}

TEST(SessionTest, NoTwoDifferentMaskedVectorsLeaveASiteInOneRound) {
  Federation federation;
  federation.SetUp();
  federation.Start(1);
  const Bytes start = *federation.MessageTo(0);
  auto actions = federation.Step(0, federation.Started(start));
  const auto sent = federation.MaskInputOf(0, std::get<MaskInput>(std::move(actions->front())));

  const auto masks_again = federation.Step(0, federation.Started(start));
  const auto same = federation.Step(0, InputMasked{1, crypto::Sha256(federation.masked(0))});
  const auto other = federation.Step(0, InputMasked{1, DigestOf(5)});

  ASSERT_TRUE(masks_again.ok());
  EXPECT_EQ(OnlySend(masks_again), OnlySend(sent));
  EXPECT_EQ(OnlySend(same), OnlySend(sent));
  EXPECT_EQ(RefusalIn(other), RefusalCode::kRoundReplayed);
}

TEST(SessionTest, MasksAreGivenOutOnce) {
  Federation federation;
  federation.SetUp();
  federation.Start(1);
  const Bytes start = *federation.MessageTo(0);
  ASSERT_EQ(federation.Step(0, federation.Started(start))->size(), 1u);

  const auto again = federation.Step(0, federation.Started(start));

  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->empty());
}

// The keys of a site's masks in a round, with their signs.
std::vector<std::pair<Bytes, bool>> MaskKeysOf(Federation& federation, MemberIndex member) {
  auto actions = federation.Step(member, federation.Started(*federation.MessageTo(member)));
  std::vector<std::pair<Bytes, bool>> keys;
  for (const OwnedMaskTerm& term : std::get<MaskInput>(actions->front()).terms) {
    const ByteSpan key = term.key.Reveal();
    keys.emplace_back(Bytes(key.begin(), key.end()), term.is_subtracted);
  }
  return keys;
}

TEST(SessionTest, NoMaskKeyServesTwice) {
  Federation federation({.num_members = 6, .num_rounds = 4});
  federation.SetUp();
  std::map<Bytes, std::vector<bool>> seen;
  for (std::uint32_t round = 1; round <= 4; ++round) {
    federation.Start(round);
    for (const MemberIndex member : federation.Everybody()) {
      for (const auto& [key, sign] : MaskKeysOf(federation, member)) seen[key].push_back(sign);
    }
    ASSERT_TRUE(federation.Step(RoundAborted{"the test goes on"}).ok());
  }

  EXPECT_EQ(seen.size(), 4u * (6 + 6 * 5 / 2));
  for (const auto& [key, signs] : seen) {
    // A pair's two sides, once added and once subtracted; or a self mask.
    EXPECT_TRUE(signs.size() == 1 ? !signs[0] : signs.size() == 2 && signs[0] != signs[1]);
  }
}

TEST(SessionTest, AnyChangeOfWhatARoundIsAboutChangesEveryMask) {
  const auto keys_with = [](void (*change)(Federation&), std::vector<MemberIndex> participants) {
    Federation federation({.num_members = 6});
    federation.SetUp();
    change(federation);
    federation.Start(1, participants);
    return MaskKeysOf(federation, 0);
  };
  const auto plain = keys_with([](Federation&) {}, {});
  ASSERT_EQ(keys_with([](Federation&) {}, {}), plain);
  const std::vector<std::vector<std::pair<Bytes, bool>>> others = {
      keys_with([](Federation& f) { f.model[31] ^= 1; }, {}),
      keys_with([](Federation& f) { f.task[0] ^= 0x80; }, {}),
      keys_with([](Federation& f) { f.encoding[7] ^= 4; }, {}),
      keys_with([](Federation&) {}, {0, 1, 2, 3, 5}),
  };
  for (const auto& other : others) {
    for (const auto& key : other) {
      EXPECT_EQ(std::ranges::find(plain, key), plain.end());
    }
  }
}

TEST(SessionTest, TheServersEventsGiveTheSameActionsAgain) {
  Federation federation({.num_members = 8});
  federation.SetUp({{2, DropPoint::kAfterKeys}});
  ASSERT_TRUE(federation.Run(1, {{4, DropPoint::kBeforeUpload}}).is_revealed);

  auto replayed = ServerSession::Create(federation.ServerOptionsNow(), federation.now);
  ASSERT_TRUE(replayed.ok());
  std::vector<Bytes> messages;
  for (const ServerEvent& event : federation.server_events()) {
    const auto actions = replayed->Step(event, federation.now);
    ASSERT_TRUE(actions.ok()) << actions.status();
    for (const ServerAction& action : *actions) {
      if (const auto* broadcast = std::get_if<Broadcast>(&action)) {
        messages.insert(messages.end(), broadcast->to.size(), broadcast->message);
      } else if (const auto* send = std::get_if<SendTo>(&action)) {
        messages.push_back(send->message);
      }
    }
  }
  std::vector<Bytes> expected;
  for (const Crossing& crossing : federation.transcript()) {
    if (!crossing.is_from_site) expected.push_back(crossing.message);
  }
  EXPECT_EQ(messages, expected);
}

TEST(SessionTest, AFailedStepChangesNothing) {
  Federation federation;
  federation.SetUp();
  federation.Start(1);
  const Bytes good = *federation.MessageTo(0);
  RoundStarted other_model = federation.Started(good);
  other_model.model[0] ^= 1;

  const auto refused = federation.Step(0, other_model);
  const auto accepted = federation.Step(0, federation.Started(good));

  EXPECT_EQ(RefusalIn(refused), RefusalCode::kModelMismatch);
  EXPECT_TRUE(accepted.ok()) << accepted.status();
  EXPECT_TRUE(federation.site(0).evidence().empty());
}

}  // namespace
}  // namespace chorale::secagg
