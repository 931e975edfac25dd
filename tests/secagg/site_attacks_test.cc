#include <gtest/gtest.h>

#include <algorithm>

#include "core/crypto/digest.h"
#include "secagg/round_messages.h"
#include "secagg/setup_messages.h"
#include "tests/secagg/federation.h"

// Sites that lie, break or come late, before an honest coordinator. Eight sites: threshold five,
// five in every sum, one may collude.
namespace chorale::secagg {
namespace {

constexpr MemberIndex kBad = 2;

class SiteAttackTest : public ::testing::Test {
 protected:
  SiteAttackTest() : federation_({.num_members = 8}) {}

  // Everybody deals shares; those of the bad site are changed on the way.
  template <typename Change>
  void ShareWith(Change change) {
    federation_.Advertise();
    for (const MemberIndex member : federation_.Everybody()) {
      Bytes message =
          OnlySend(federation_.Step(member, KeysReceived{*federation_.MessageTo(member)}));
      if (member == kBad) {
        DealtShares dealt = *DecodeShareKeys(SplitMessage(MessageKind::kShareKeys, message)->body);
        change(dealt);
        message = federation_.BySite(kBad, MessageKind::kShareKeys, Encode(dealt));
      }
      const auto taken =
          federation_.Step(MessageReceived{member, MessageKind::kShareKeys, message});
      ASSERT_TRUE(taken.ok()) << taken.status();
    }
    deliveries_ = *federation_.Step(StepClosed{});
    for (const ServerAction& action : deliveries_) {
      const auto& send = std::get<SendTo>(action);
      const Bytes ack = OnlySend(federation_.Step(send.member, SharesReceived{send.message}));
      ASSERT_TRUE(
          federation_.Step(MessageReceived{send.member, MessageKind::kShareKeysAck, ack}).ok());
    }
    ASSERT_TRUE(federation_.Step(StepClosed{}).ok());
  }

  // Opens what the bad site sealed for `holder` and seals something else in its place.
  void Reseal(DealtShares& dealt, MemberIndex holder, std::uint32_t round) {
    const SessionView& view = federation_.view();
    const auto own = crypto::X25519PrivateKey::FromBytes(federation_.random(kBad).secrets()[0]);
    const auto channel =
        ChannelKey(view.id(), *own, kBad, view.channel_key(holder), holder, kBad, holder);
    const auto place = std::ranges::find(dealt.shares.members, holder);
    const auto index = static_cast<std::size_t>(place - dealt.shares.members.begin());
    const std::size_t at = (index * 3 + round - 1) * kSealedSharesBytes;
    auto plain = OpenShares(*channel, view.id(), round, kBad, holder, kSharesType,
                            ByteSpan(dealt.shares.sealed).subspan(at, kSealedSharesBytes));
    ASSERT_TRUE(plain.ok());
    plain->MutableReveal()[0] ^= 1;
    const Bytes seal =
        SealShares(*channel, view.id(), round, kBad, holder, kSharesType, plain->Reveal());
    std::ranges::copy(seal, dealt.shares.sealed.begin() + static_cast<std::ptrdiff_t>(at));
  }

  // The whole round, where the bad site's shares are changed on the way.
  template <typename Change>
  Outcome RunWithShares(std::uint32_t round, Change change) {
    federation_.Start(round);
    federation_.Collect();
    federation_.Check();
    for (const MemberIndex member : federation_.Everybody()) {
      Bytes message =
          OnlySend(federation_.Step(member, SignaturesReceived{*federation_.MessageTo(member)}));
      if (member == kBad) {
        UnmaskingShares shares =
            *DecodeUnmasking(SplitMessage(MessageKind::kUnmasking, message)->body);
        change(shares);
        message = federation_.BySite(kBad, MessageKind::kUnmasking, Encode(shares));
      }
      EXPECT_TRUE(federation_.Step(MessageReceived{member, MessageKind::kUnmasking, message}).ok());
    }
    federation_.Unmask({{0, DropPoint::kBeforeKeys},
                        {1, DropPoint::kBeforeKeys},
                        {2, DropPoint::kBeforeKeys},
                        {3, DropPoint::kBeforeKeys},
                        {4, DropPoint::kBeforeKeys},
                        {5, DropPoint::kBeforeKeys},
                        {6, DropPoint::kBeforeKeys},
                        {7, DropPoint::kBeforeKeys}});
    return federation_.Finish();
  }

  Federation federation_;
  std::vector<ServerAction> deliveries_;
};

TEST_F(SiteAttackTest, CommitsToAnotherSeedThanItShares) {
  ShareWith([](DealtShares& dealt) { dealt.commitments[0][5] ^= 1; });

  const Outcome first = federation_.Run(1);
  federation_.model[0] ^= 1;  // The sites cannot tell that the first sum was not revealed.
  const Outcome second = federation_.Run(2);

  EXPECT_FALSE(first.is_revealed);
  EXPECT_EQ(first.reason.code(), StatusCode::kDataLoss);
  EXPECT_EQ(first.blamed, std::vector<MemberIndex>{kBad});
  ASSERT_TRUE(second.is_revealed) << second.reason;  // Without it, the session goes on.
  EXPECT_EQ(second.survivors, federation_.Without(kBad));
  EXPECT_EQ(second.sum, federation_.SumOf(federation_.Without(kBad)));
}

TEST_F(SiteAttackTest, DealsSharesThatDoNotFitTogether) {
  ShareWith([&](DealtShares& dealt) {
    Reseal(dealt, 0, 1);
    Reseal(dealt, 5, 1);
  });

  const Outcome outcome = federation_.Run(1);

  ASSERT_TRUE(outcome.is_revealed) << outcome.reason;
  EXPECT_EQ(outcome.sum, federation_.SumOf(federation_.Everybody()));
  EXPECT_EQ(outcome.blamed, std::vector<MemberIndex>{kBad});
}

TEST_F(SiteAttackTest, DealsASingleShareThatDoesNotFitAndLeavesItOpenWhoDidIt) {
  ShareWith([&](DealtShares& dealt) { Reseal(dealt, 0, 1); });

  const Outcome outcome = federation_.Run(1);

  ASSERT_TRUE(outcome.is_revealed) << outcome.reason;
  EXPECT_EQ(outcome.sum, federation_.SumOf(federation_.Everybody()));
  EXPECT_TRUE(outcome.blamed.empty());
  EXPECT_EQ(outcome.suspects, (std::vector<std::pair<MemberIndex, MemberIndex>>{{kBad, 0}}));
}

TEST_F(SiteAttackTest, SealsSharesThatNobodyCanOpen) {
  ShareWith([](DealtShares& dealt) {
    for (std::uint8_t& byte : dealt.shares.sealed) byte ^= 0xff;
  });

  EXPECT_EQ(federation_.blamed(), std::vector<MemberIndex>{kBad});
  EXPECT_EQ(federation_.server().Eligible(), federation_.Without(kBad));
  const Outcome outcome = federation_.Run(1);
  ASSERT_TRUE(outcome.is_revealed) << outcome.reason;
  EXPECT_EQ(outcome.sum, federation_.SumOf(federation_.Without(kBad)));
}

TEST_F(SiteAttackTest, ReturnsWrongShares) {
  federation_.SetUp();

  const Outcome outcome = RunWithShares(1, [](UnmaskingShares& shares) {
    for (DealerShare& one : shares.seeds) one.share.MutableReveal()[2] ^= 4;
  });

  ASSERT_TRUE(outcome.is_revealed) << outcome.reason;
  EXPECT_EQ(outcome.sum, federation_.SumOf(federation_.Everybody()));
  EXPECT_EQ(outcome.blamed, std::vector<MemberIndex>{kBad});
  EXPECT_EQ(federation_.server().Eligible(), federation_.Without(kBad));
}

TEST_F(SiteAttackTest, ReturnsOneWrongShareWhichIsNamedAsSuspect) {
  federation_.SetUp();

  const Outcome outcome = RunWithShares(
      1, [](UnmaskingShares& shares) { shares.seeds[0].share.MutableReveal()[0] ^= 1; });

  ASSERT_TRUE(outcome.is_revealed) << outcome.reason;
  EXPECT_EQ(outcome.sum, federation_.SumOf(federation_.Everybody()));
  EXPECT_EQ(outcome.suspects, (std::vector<std::pair<MemberIndex, MemberIndex>>{{0, kBad}}));
}

TEST_F(SiteAttackTest, ReturnsSharesOfTheWrongKindOrThatWereNotAskedFor) {
  federation_.SetUp();
  federation_.Start(1);
  federation_.Collect({{7, DropPoint::kBeforeUpload}});
  federation_.Check({{7, DropPoint::kBeforeUpload}});
  const Bytes honest =
      OnlySend(federation_.Step(kBad, SignaturesReceived{*federation_.MessageTo(kBad)}));
  const auto refusal_of = [&](auto change) {
    UnmaskingShares shares = *DecodeUnmasking(SplitMessage(MessageKind::kUnmasking, honest)->body);
    change(shares);
    return RefusalIn(federation_.Step(
        MessageReceived{kBad, MessageKind::kUnmasking,
                        federation_.BySite(kBad, MessageKind::kUnmasking, Encode(shares))}));
  };
  constexpr auto kConflict = RefusalCode::kConflictingSets;

  EXPECT_EQ(refusal_of([](auto& s) {
              s.seeds.push_back(std::move(s.keys[0]));
              s.keys.clear();
            }),
            kConflict);
  EXPECT_EQ(refusal_of([](auto& s) { s.keys[0].dealer = 6; }), kConflict);
  EXPECT_EQ(refusal_of([](auto& s) { s.keys[0].dealer = kBad; }), kConflict);
  EXPECT_EQ(refusal_of([](auto& s) { s.context[0] ^= 1; }), kConflict);
  EXPECT_EQ(refusal_of([](auto& s) { s.member = 3; }), RefusalCode::kNotAParticipant);
  EXPECT_EQ(refusal_of([](auto& s) { s.round = 2; }), RefusalCode::kWrongSession);
  EXPECT_EQ(refusal_of([](auto&) {}), std::nullopt);
}

TEST_F(SiteAttackTest, AnnouncesAVectorOfAnotherSize) {
  federation_.SetUp();
  federation_.Start(1);
  const RoundTerms terms = federation_.Terms(1, federation_.Everybody());
  const auto header = [&](std::uint64_t bytes) {
    return federation_.BySite(kBad, MessageKind::kMaskedInput,
                              Encode(MaskedInputHeader{.session = terms.session,
                                                       .round = 1,
                                                       .member = kBad,
                                                       .context = ContextOf(BindingOf(terms)),
                                                       .vector_bytes = bytes,
                                                       .vector = DigestOf(1)}));
  };
  const auto tell = [&](const Bytes& message) {
    return RefusalIn(federation_.Step(MessageReceived{kBad, MessageKind::kMaskedInput, message}));
  };

  EXPECT_EQ(tell(header(terms.vector_bytes - 1)), RefusalCode::kParametersNotApproved);
  EXPECT_EQ(tell(header(terms.vector_bytes + 1)), RefusalCode::kParametersNotApproved);
  Bytes truncated = header(terms.vector_bytes);
  truncated.pop_back();
  EXPECT_EQ(tell(truncated), RefusalCode::kMalformed);
  EXPECT_EQ(tell(Bytes(2000, 0x0a)), RefusalCode::kMalformed);
  EXPECT_EQ(tell(header(terms.vector_bytes)), std::nullopt);
}

TEST_F(SiteAttackTest, SendsOtherBytesThanItAnnounced) {
  federation_.SetUp();
  federation_.Start(1);
  // The transport finds that the bytes do not have the digest and never says VectorReceived.
  federation_.Collect({{kBad, DropPoint::kDuringUpload}});
  federation_.Check({{kBad, DropPoint::kDuringUpload}});
  federation_.Unmask({{kBad, DropPoint::kDuringUpload}});

  const Outcome outcome = federation_.Finish();

  ASSERT_TRUE(outcome.is_revealed) << outcome.reason;
  EXPECT_EQ(outcome.sum, federation_.SumOf(federation_.Without(kBad)));
}

TEST_F(SiteAttackTest, SignsAVectorInAnotherNameOrWithAnotherKey) {
  federation_.SetUp();
  federation_.Start(1);
  auto actions = federation_.Step(kBad, federation_.Started(*federation_.MessageTo(kBad)));
  const Bytes message =
      OnlySend(federation_.MaskInputOf(kBad, std::get<MaskInput>(std::move(actions->front()))));
  MaskedInputHeader header =
      *DecodeMaskedInput(SplitMessage(MessageKind::kMaskedInput, message)->body);
  header.member = 3;
  const auto tell = [&](MemberIndex from, const Bytes& bytes) {
    return RefusalIn(federation_.Step(MessageReceived{from, MessageKind::kMaskedInput, bytes}));
  };

  EXPECT_EQ(tell(3, message), RefusalCode::kBadSignature);
  EXPECT_EQ(tell(3, federation_.BySite(kBad, MessageKind::kMaskedInput, Encode(header))),
            RefusalCode::kBadSignature);
  EXPECT_EQ(tell(kBad, federation_.BySite(kBad, MessageKind::kMaskedInput, Encode(header))),
            RefusalCode::kNotAParticipant);
  EXPECT_EQ(tell(kBad, message), std::nullopt);
}

TEST_F(SiteAttackTest, SignsTwoVectorsInOneRound) {
  federation_.SetUp();
  federation_.Start(1);
  auto actions = federation_.Step(kBad, federation_.Started(*federation_.MessageTo(kBad)));
  const Bytes first =
      OnlySend(federation_.MaskInputOf(kBad, std::get<MaskInput>(std::move(actions->front()))));
  MaskedInputHeader header =
      *DecodeMaskedInput(SplitMessage(MessageKind::kMaskedInput, first)->body);
  header.vector[0] ^= 1;
  const Bytes second = federation_.BySite(kBad, MessageKind::kMaskedInput, Encode(header));
  ASSERT_TRUE(federation_.Step(MessageReceived{kBad, MessageKind::kMaskedInput, first}).ok());

  const auto again = federation_.Step(MessageReceived{kBad, MessageKind::kMaskedInput, first});
  const auto other = federation_.Step(MessageReceived{kBad, MessageKind::kMaskedInput, second});

  EXPECT_EQ(again.status().code(), StatusCode::kAlreadyExists);
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(std::get<Blame>(other->front()).member, kBad);
  ASSERT_EQ(federation_.server().evidence().size(), 1u);
  EXPECT_EQ(federation_.server().evidence()[0].first, first);
  EXPECT_EQ(federation_.server().evidence()[0].second, second);
  EXPECT_EQ(federation_.server().Eligible(), federation_.Without(kBad));
}

TEST_F(SiteAttackTest, ClaimsToHaveSeenAnotherRoundThanItWasTold) {
  federation_.SetUp();
  federation_.Start(1);
  federation_.Collect();
  const Bytes honest =
      OnlySend(federation_.Step(kBad, SurvivorsReceived{*federation_.MessageTo(kBad)}));
  RoundStatement statement =
      *DecodeConsistencySignature(SplitMessage(MessageKind::kConsistencySignature, honest)->body);
  statement.seen.survivors[0] ^= 1;

  const auto told = federation_.Step(MessageReceived{
      kBad, MessageKind::kConsistencySignature,
      federation_.BySite(kBad, MessageKind::kConsistencySignature, Encode(statement))});

  ASSERT_TRUE(told.ok());
  EXPECT_EQ(RefusalOf(std::get<Blame>(told->front()).reason), RefusalCode::kEquivocation);
  // The others do not see it, and the round goes on with its vector in the sum.
  federation_.Check({{kBad, DropPoint::kAfterUpload}});
  federation_.Unmask();
  const Outcome outcome = federation_.Finish();
  ASSERT_TRUE(outcome.is_revealed) << outcome.reason;
  EXPECT_EQ(outcome.sum, federation_.SumOf(federation_.Everybody()));
}

TEST_F(SiteAttackTest, ComesAfterTheStepClosed) {
  federation_.SetUp();
  federation_.Start(1);
  const Bytes start = *federation_.MessageTo(kBad);
  federation_.Collect({{kBad, DropPoint::kBeforeUpload}});
  auto twin = federation_.Step(kBad, federation_.Started(start));  // Asked before: no masks again.
  ASSERT_TRUE(twin.ok() && twin->empty());
  const RoundTerms terms = federation_.Terms(1, federation_.Everybody());
  const Bytes late =
      federation_.BySite(kBad, MessageKind::kMaskedInput,
                         Encode(MaskedInputHeader{.session = terms.session,
                                                  .round = 1,
                                                  .member = kBad,
                                                  .context = ContextOf(BindingOf(terms)),
                                                  .vector_bytes = terms.vector_bytes,
                                                  .vector = DigestOf(1)}));

  EXPECT_EQ(
      federation_.Step(MessageReceived{kBad, MessageKind::kMaskedInput, late}).status().code(),
      StatusCode::kFailedPrecondition);
  EXPECT_EQ(federation_.Step(VectorReceived{kBad}).status().code(),
            StatusCode::kFailedPrecondition);
  federation_.now += std::chrono::minutes(31);
  EXPECT_EQ(RefusalIn(federation_.Step(kBad, InputMasked{1, DigestOf(1)})),
            RefusalCode::kSessionExpired);
}

TEST_F(SiteAttackTest, RestartsInTheMiddleOfARound) {
  federation_.SetUp();
  federation_.Start(1);
  const Bytes start = *federation_.MessageTo(kBad);
  (void)federation_.Step(kBad, federation_.Started(start));
  federation_.Restart(kBad);

  EXPECT_EQ(RefusalIn(federation_.Step(kBad, federation_.Started(start))), RefusalCode::kStateLost);
  EXPECT_EQ(RefusalIn(federation_.Step(
                kBad, SurvivorsReceived{federation_.Survivors(1, federation_.Everybody())})),
            RefusalCode::kStateLost);
  // Its keys are other keys: the session it was in does not take it back.
  const Bytes keys =
      OnlySend(federation_.Step(kBad, ManifestReceived{federation_.server().manifest()}));
  EXPECT_EQ(
      federation_.Step(MessageReceived{kBad, MessageKind::kAdvertiseKeys, keys}).status().code(),
      StatusCode::kFailedPrecondition);
}

TEST_F(SiteAttackTest, AddsWhatItLikesToTheSumWhichNobodyPrevents) {
  federation_.SetUp();
  federation_.Start(1);
  federation_.Collect();
  federation_.Check();
  federation_.Unmask();

  const Outcome outcome = federation_.Finish();

  // The inputs of this test are random bytes, and the sum is theirs: no check of values.
  EXPECT_EQ(outcome.sum, federation_.SumOf(federation_.Everybody()));
}

TEST_F(SiteAttackTest, SaysThingsOfTheWrongStepSessionOrMember) {
  federation_.Advertise();
  const Bytes keys = *federation_.MessageTo(0);
  const Bytes shares = OnlySend(federation_.Step(0, KeysReceived{keys}));
  DealtShares dealt = *DecodeShareKeys(SplitMessage(MessageKind::kShareKeys, shares)->body);
  const auto tell = [&](MemberIndex from, MessageKind kind, const Bytes& message) {
    return federation_.Step(MessageReceived{from, kind, message});
  };
  const auto changed = [&](auto change) {
    DealtShares other = dealt;
    change(other);
    return RefusalIn(tell(0, MessageKind::kShareKeys,
                          federation_.BySite(0, MessageKind::kShareKeys, Encode(other))));
  };

  EXPECT_EQ(tell(0, MessageKind::kShareKeysAck, shares).status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(tell(99, MessageKind::kShareKeys, shares).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(RefusalIn(tell(1, MessageKind::kShareKeys, shares)), RefusalCode::kBadSignature);
  EXPECT_EQ(changed([](auto& d) { d.session[0] ^= 1; }), RefusalCode::kWrongSession);
  EXPECT_EQ(changed([](auto& d) { d.member = 1; }), RefusalCode::kWrongSession);
  EXPECT_EQ(changed([](auto& d) { d.commitments.pop_back(); }), RefusalCode::kShareInvalid);
  EXPECT_EQ(changed([](auto& d) { d.shares.members[0] = 0; }), RefusalCode::kShareInvalid);
  EXPECT_EQ(changed([](auto&) {}), std::nullopt);
}

}  // namespace
}  // namespace chorale::secagg
