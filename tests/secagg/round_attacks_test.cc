#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/crypto/digest.h"
#include "secagg/round_messages.h"
#include "tests/secagg/federation.h"

// A coordinator that lies during a round. Five sites, threshold four, one of them may collude.
namespace chorale::secagg {
namespace {

class RoundAttackTest : public ::testing::Test {
 protected:
  RoundAttackTest() { federation_.SetUp(); }

  // The site masks its input for the round that `start` opens; what it says of it.
  Bytes Mask(MemberIndex member, const Bytes& start) {
    auto actions = federation_.Step(member, federation_.Started(start));
    EXPECT_TRUE(actions.ok()) << actions.status();
    if (!actions.ok()) return {};
    return OnlySend(
        federation_.MaskInputOf(member, std::get<MaskInput>(std::move(actions->front()))));
  }
  // Everybody masks for the same round.
  void MaskAll(std::uint32_t round = 1) {
    const Bytes start = federation_.Start(federation_.Terms(round, federation_.Everybody()));
    for (const MemberIndex member : federation_.Everybody()) Mask(member, start);
  }
  StatusOr<std::vector<ClientAction>> Tell(MemberIndex member,
                                           const std::vector<MemberIndex>& survivors,
                                           std::uint32_t round = 1) {
    return federation_.Step(member, SurvivorsReceived{federation_.Survivors(round, survivors)});
  }
  Bytes SignatureOf(MemberIndex member, const std::vector<MemberIndex>& survivors,
                    std::uint32_t round = 1) {
    return OnlySend(Tell(member, survivors, round));
  }
  StatusOr<std::vector<ClientAction>> Ask(MemberIndex member, const std::vector<Bytes>& signatures,
                                          std::uint32_t round = 1) {
    return federation_.Step(member,
                            SignaturesReceived{EncodeConsistencySignatures(
                                federation_.view().id(), round,
                                std::vector<ByteSpan>(signatures.begin(), signatures.end()))});
  }
  static bool HasWithdrawn(const StatusOr<std::vector<ClientAction>>& actions) {
    return actions.ok() && actions->size() == 1 &&
           std::holds_alternative<Withdraw>(actions->front());
  }
  // After a site withdrew there is nothing more to get of the round.
  void ExpectNothingMore(MemberIndex member, const std::vector<Bytes>& signatures) {
    EXPECT_EQ(RefusalIn(Ask(member, signatures)), RefusalCode::kRoundAborted);
  }

  Federation federation_;
};

TEST_F(RoundAttackTest, GivesASiteAnotherModelThanItSays) {
  federation_.Start(1);
  RoundStarted flipped = federation_.Started(*federation_.MessageTo(2));
  flipped.model[13] ^= 0x10;

  EXPECT_EQ(RefusalIn(federation_.Step(2, flipped)), RefusalCode::kModelMismatch);
}

TEST_F(RoundAttackTest, GivesOneSiteAnotherModelAndSaysSo) {
  constexpr MemberIndex kVictim = 4;
  const Bytes start = federation_.Start(federation_.Terms(1, federation_.Everybody()));
  for (const MemberIndex member : federation_.Without(kVictim)) Mask(member, start);
  const crypto::Digest honest = federation_.model;
  federation_.model[0] ^= 1;
  Mask(kVictim, federation_.Start(federation_.Terms(1, federation_.Everybody())));
  federation_.model = honest;
  std::vector<Bytes> signatures;
  for (const MemberIndex member : federation_.Everybody()) {
    signatures.push_back(SignatureOf(member, federation_.Everybody()));
  }

  for (const MemberIndex member : federation_.Everybody()) {
    EXPECT_TRUE(HasWithdrawn(Ask(member, signatures)));
    ExpectNothingMore(member, signatures);
    ASSERT_EQ(federation_.site(member).evidence().size(), 1u);
  }
  // The evidence names what both saw, and whoever knows the members' keys can verify it.
  const Evidence& evidence = federation_.site(0).evidence().front();
  const auto first = OpenMessage(MessageKind::kConsistencySignature, evidence.first,
                                 federation_.key(0).public_key());
  const auto second = OpenMessage(MessageKind::kConsistencySignature, evidence.second,
                                  federation_.key(kVictim).public_key());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE(DecodeConsistencySignature(*first)->seen.context,
            DecodeConsistencySignature(*second)->seen.context);
}

TEST_F(RoundAttackTest, AsksForAnotherEncodingOrTaskThanApproved) {
  const Bytes start = federation_.Start(federation_.Terms(1, federation_.Everybody()));
  RoundStarted other_encoding = federation_.Started(start);
  other_encoding.encoding[0] ^= 1;
  RoundStarted other_task = federation_.Started(start);
  other_task.task[31] ^= 1;
  RoundStarted other_size = federation_.Started(start);
  other_size.vector_bytes += 4;

  for (const RoundStarted& started : {other_encoding, other_task, other_size}) {
    EXPECT_EQ(RefusalIn(federation_.Step(0, started)), RefusalCode::kParametersNotApproved);
  }
}

TEST_F(RoundAttackTest, OpensOneRoundTwice) {
  const Bytes first = federation_.Start(federation_.Terms(1, federation_.Everybody()));
  const Bytes second = federation_.Start(federation_.Terms(1, federation_.Without(4)));
  ASSERT_NE(Mask(0, first), Bytes());

  EXPECT_TRUE(HasWithdrawn(federation_.Step(0, federation_.Started(second))));

  ASSERT_EQ(federation_.site(0).evidence().size(), 1u);
  EXPECT_EQ(federation_.site(0).evidence()[0].code, RefusalCode::kEquivocation);
  EXPECT_EQ(federation_.site(0).evidence()[0].first, first);
  EXPECT_EQ(federation_.site(0).evidence()[0].second, second);
  EXPECT_EQ(RefusalIn(Tell(0, federation_.Everybody())), RefusalCode::kRoundAborted);
  EXPECT_EQ(RefusalIn(federation_.Step(0, federation_.Started(first))),
            RefusalCode::kRoundReplayed);
}

TEST_F(RoundAttackTest, ReplaysAnEarlierRoundOrSession) {
  const Bytes early = federation_.Start(federation_.Terms(1, federation_.Everybody()));
  MaskAll(2);

  EXPECT_EQ(RefusalIn(federation_.Step(0, federation_.Started(early))),
            RefusalCode::kRoundReplayed);

  Federation other({.nonce = 8});
  other.SetUp();
  other.Start(1);
  EXPECT_EQ(RefusalIn(federation_.Step(0, federation_.Started(*other.MessageTo(0)))),
            RefusalCode::kWrongSession);
  EXPECT_EQ(RefusalIn(other.Step(
                0, SurvivorsReceived{federation_.Survivors(2, federation_.Everybody())})),
            RefusalCode::kWrongSession);
}

TEST_F(RoundAttackTest, OpensARoundBeyondTheLast) {
  const Bytes start = federation_.Start(federation_.Terms(4, federation_.Everybody()));

  EXPECT_EQ(RefusalIn(federation_.Step(0, federation_.Started(start))),
            RefusalCode::kRoundReplayed);
}

TEST_F(RoundAttackTest, OpensARoundOverTooFewOrWithoutTheSite) {
  const auto refusal_of = [&](const std::vector<MemberIndex>& participants) {
    return RefusalIn(federation_.Step(
        0, federation_.Started(federation_.Start(federation_.Terms(1, participants)))));
  };
  EXPECT_EQ(refusal_of({0, 1, 2}), RefusalCode::kGroupTooSmall);
  EXPECT_EQ(refusal_of({1, 2, 3, 4}), RefusalCode::kNotAParticipant);
  EXPECT_EQ(refusal_of({0, 1, 2, 3, 5}), RefusalCode::kNotAParticipant);
  EXPECT_EQ(refusal_of({0, 1, 2, 2, 3}), RefusalCode::kMalformed);
}

TEST_F(RoundAttackTest, TellsSomeThatTheVictimIsInTheSumAndOthersThatItIsNot) {
  constexpr MemberIndex kVictim = 4;
  MaskAll();
  const std::vector<MemberIndex> with = federation_.Everybody();
  const std::vector<MemberIndex> without = federation_.Without(kVictim);
  const std::vector<Bytes> for_it = {SignatureOf(0, with), SignatureOf(1, with),
                                     SignatureOf(kVictim, with)};
  const std::vector<Bytes> against = {SignatureOf(2, without), SignatureOf(3, without)};

  EXPECT_EQ(RefusalIn(Ask(0, for_it)), RefusalCode::kNotEnoughSignatures);
  EXPECT_EQ(RefusalIn(Ask(2, against)), RefusalCode::kNotEnoughSignatures);
  std::vector<Bytes> all = for_it;
  all.insert(all.end(), against.begin(), against.end());
  EXPECT_TRUE(HasWithdrawn(Ask(0, all)));
  EXPECT_TRUE(HasWithdrawn(Ask(2, all)));
}

TEST_F(RoundAttackTest, WithholdsFromAllButTheVictimThatItIsInTheSum) {
  constexpr MemberIndex kVictim = 4;
  MaskAll();
  std::vector<Bytes> signatures;
  for (const MemberIndex member : federation_.Without(kVictim)) {
    signatures.push_back(SignatureOf(member, federation_.Without(kVictim)));
  }
  signatures.push_back(SignatureOf(kVictim, federation_.Everybody()));

  // The others hold enough signatures, and one of a member that is not in their sum at all.
  EXPECT_TRUE(HasWithdrawn(Ask(0, signatures)));
  signatures.pop_back();
  EXPECT_TRUE(Ask(1, signatures).ok());
}

// Which of the sites 0, 1 and 2 are told that the victim is in the sum, as bits.
class SplitAttackTest : public RoundAttackTest, public ::testing::WithParamInterface<unsigned> {};

// Site 3 works with the coordinator, signs whatever it is asked and gives both shares. Whatever
// the others are told, the coordinator gets four shares of one kind at most.
TEST_P(SplitAttackTest, AsksForBothSharesOfTheVictimFromDifferentSites) {
  constexpr MemberIndex kVictim = 4;
  constexpr MemberIndex kColluder = 3;
  MaskAll();
  const auto survivors = [&](bool is_in) {
    return is_in ? federation_.Everybody() : federation_.Without(kVictim);
  };
  const auto is_told_in = [&](MemberIndex member) {
    return member == kVictim || (GetParam() >> member & 1) != 0;
  };
  std::map<bool, std::vector<Bytes>> signatures;
  const RoundInHand& round = *federation_.site(kColluder).round();
  for (const bool is_in : {false, true}) {
    const RoundSeen seen{.session = federation_.view().id(),
                         .round = 1,
                         .context = round.context,
                         .participants = round.binding.participants,
                         .survivors = ParticipantsDigest(survivors(is_in))};
    signatures[is_in].push_back(federation_.BySite(kColluder, MessageKind::kConsistencySignature,
                                                   Encode(RoundStatement{kColluder, seen})));
  }
  for (const MemberIndex member : federation_.Without(kColluder)) {
    const bool is_in = is_told_in(member);
    signatures[is_in].push_back(SignatureOf(member, survivors(is_in)));
  }

  std::size_t seeds = 1;  // The colluder's own.
  std::size_t keys = 1;
  for (const MemberIndex member : federation_.Without(kColluder)) {
    const auto answer = Ask(member, signatures[is_told_in(member)]);
    if (!answer.ok()) continue;
    const auto shares =
        DecodeUnmasking(SplitMessage(MessageKind::kUnmasking, OnlySend(answer))->body);
    const auto is_of_victim = [](const DealerShare& one) { return one.dealer == kVictim; };
    seeds += static_cast<std::size_t>(std::ranges::count_if(shares->seeds, is_of_victim));
    keys += static_cast<std::size_t>(std::ranges::count_if(shares->keys, is_of_victim));
  }
  EXPECT_FALSE(seeds >= 4 && keys >= 4);
}

INSTANTIATE_TEST_SUITE_P(EverySplit, SplitAttackTest, ::testing::Range(0u, 8u));

TEST_F(RoundAttackTest, NamesSurvivorsTwiceOrFromOutsideOrNotTheSiteItself) {
  const Bytes start = federation_.Start(federation_.Terms(1, {0, 1, 2, 3}));
  for (const MemberIndex member : {0u, 1u, 2u, 3u}) Mask(member, start);

  EXPECT_EQ(RefusalIn(Tell(0, {0, 1, 1, 2, 3})), RefusalCode::kMalformed);
  EXPECT_EQ(RefusalIn(Tell(0, {0, 1, 2, 4})), RefusalCode::kConflictingSets);
  EXPECT_EQ(RefusalIn(Tell(0, {0, 1, 2, 3, 999})), RefusalCode::kConflictingSets);
  EXPECT_EQ(RefusalIn(Tell(0, {1, 2, 3})), RefusalCode::kNotAParticipant);
}

TEST_F(RoundAttackTest, NamesTooFewSurvivors) {
  MaskAll();

  EXPECT_EQ(RefusalIn(Tell(0, {0, 1, 2})), RefusalCode::kGroupTooSmall);
  EXPECT_EQ(RefusalIn(Tell(0, {0})), RefusalCode::kGroupTooSmall);
}

TEST_F(RoundAttackTest, DeclaresTheVictimDroppedAndTakesItsVectorLater) {
  constexpr MemberIndex kVictim = 4;
  Federation federation({.sections = {{RingBits::k16, 32768}}});
  federation.SetUp();
  federation.Start(1);
  const Bytes start = *federation.MessageTo(kVictim);
  federation.Collect({{kVictim, DropPoint::kBeforeUpload}});
  federation.Check();
  federation.Unmask();
  const auto& remove = std::get<RemoveMasks>(federation.actions().front());
  ASSERT_EQ(remove.terms.size(), 8u);  // Four self masks, four of the victim's pairs.
  // The late vector: the victim masked it in its own time and it arrives all the same.
  Federation twin({.sections = {{RingBits::k16, 32768}}});
  twin.SetUp();
  twin.Start(1);
  auto actions = twin.Step(kVictim, twin.Started(start));
  ASSERT_TRUE(actions.ok()) << actions.status();
  auto& masks = std::get<MaskInput>(actions->front());
  const crypto::SecretBytes self_mask(masks.terms[0].key.Reveal());
  ASSERT_TRUE(twin.MaskInputOf(kVictim, std::move(masks)).ok());
  Bytes late = twin.masked(kVictim);

  std::vector<MaskTerm> pairs;
  for (std::size_t i = 4; i < remove.terms.size(); ++i) {
    // What is taken off a survivor's vector is, with the other sign, on the victim's.
    pairs.push_back({&remove.terms[i].key, !remove.terms[i].is_subtracted});
  }
  ASSERT_TRUE(ApplyMasks(twin.spec(), 0, late, pairs, 1).ok());

  Bytes bare = late;
  const std::vector<MaskTerm> self = {{&self_mask, true}};
  ASSERT_TRUE(ApplyMasks(twin.spec(), 0, bare, self, 1).ok());
  ASSERT_EQ(bare, twin.input(kVictim));  // The self mask is all that is left, and unknown.
  EXPECT_NE(late, twin.input(kVictim));
  // What is left is uniform: chi-square over bytes, 255 degrees of freedom, 5 standard deviations.
  std::vector<double> counts(256);
  for (std::size_t i = 0; i < late.size(); ++i) {
    ++counts[static_cast<std::uint8_t>(late[i] - twin.input(kVictim)[i])];
  }
  double chi_square = 0;
  const double expected = static_cast<double>(late.size()) / 256;
  for (const double count : counts)
    chi_square += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_square, 255 + 5 * 22.6);
}

TEST_F(RoundAttackTest, AsksToUnmaskTwiceWithOtherSurvivors) {
  MaskAll();
  std::vector<Bytes> signatures;
  for (const MemberIndex member : federation_.Everybody()) {
    signatures.push_back(SignatureOf(member, federation_.Everybody()));
  }
  const Bytes first = OnlySend(Ask(0, signatures));

  EXPECT_EQ(OnlySend(Ask(0, signatures)), first);  // The same again is no other answer.
  std::vector<Bytes> fewer(signatures.begin(), signatures.begin() + 4);
  EXPECT_EQ(RefusalIn(Ask(0, fewer)), RefusalCode::kAlreadyUnmasked);
  EXPECT_TRUE(HasWithdrawn(Tell(0, federation_.Without(4))));
  ExpectNothingMore(0, fewer);
}

TEST_F(RoundAttackTest, AsksToUnmaskARoundThatIsOver) {
  MaskAll();
  std::vector<Bytes> signatures;
  for (const MemberIndex member : federation_.Everybody()) {
    signatures.push_back(SignatureOf(member, federation_.Everybody()));
  }
  ASSERT_TRUE(federation_.Step(0, RoundEnded{1}).ok());
  ASSERT_TRUE(federation_.Step(0, RoundEnded{1}).ok());  // Twice is once.

  ExpectNothingMore(0, signatures);
  EXPECT_EQ(RefusalIn(Tell(0, federation_.Everybody())), RefusalCode::kRoundAborted);
  EXPECT_EQ(RefusalIn(federation_.Step(0, InputMasked{1, DigestOf(1)})),
            RefusalCode::kRoundAborted);
  // A later round ends this one as well.
  MaskAll(2);
  EXPECT_EQ(RefusalIn(Ask(1, signatures)), RefusalCode::kRoundAborted);
}

TEST_F(RoundAttackTest, AsksForRetransmissionAfterChangingTheParticipants) {
  const Bytes start = federation_.Start(federation_.Terms(1, federation_.Everybody()));
  const Bytes header = Mask(0, start);

  EXPECT_EQ(OnlySend(federation_.Step(0, federation_.Started(start))), header);
  EXPECT_TRUE(HasWithdrawn(federation_.Step(
      0, federation_.Started(federation_.Start(federation_.Terms(1, {0, 1, 2, 3}))))));
}

TEST_F(RoundAttackTest, ForgesDropsRepeatsOrBorrowsSignatures) {
  MaskAll();
  std::vector<Bytes> signatures;
  for (const MemberIndex member : federation_.Everybody()) {
    signatures.push_back(SignatureOf(member, federation_.Everybody()));
  }
  constexpr auto kTooFew = RefusalCode::kNotEnoughSignatures;
  const Bytes& own = signatures[0];

  EXPECT_EQ(RefusalIn(Ask(0, {})), kTooFew);
  EXPECT_EQ(RefusalIn(Ask(0, {own, signatures[1], signatures[2]})), kTooFew);
  EXPECT_EQ(RefusalIn(Ask(0, {own, own, own, own, own})), kTooFew);
  Bytes spoiled = signatures[3];
  spoiled.back() ^= 1;
  EXPECT_EQ(RefusalIn(Ask(0, {own, signatures[1], signatures[2], spoiled})), kTooFew);
  // Site 3's statement under the coordinator's own signature, and one by nobody in the sum.
  RoundStatement statement = *DecodeConsistencySignature(
      SplitMessage(MessageKind::kConsistencySignature, signatures[3])->body);
  EXPECT_EQ(RefusalIn(Ask(0, {own, signatures[1], signatures[2],
                              federation_.ByCoordinator(MessageKind::kConsistencySignature,
                                                        Encode(statement))})),
            kTooFew);
  statement.member = 77;
  EXPECT_EQ(RefusalIn(Ask(
                0, {own, signatures[1], signatures[2],
                    federation_.BySite(3, MessageKind::kConsistencySignature, Encode(statement))})),
            kTooFew);
  EXPECT_TRUE(Ask(0, {own, signatures[1], signatures[2], signatures[3]}).ok());
}

TEST_F(RoundAttackTest, RevealsTwoSumsThatDifferByOneSite) {
  ASSERT_TRUE(federation_.Run(1).is_revealed);
  federation_.Start(2, federation_.Without(4));
  federation_.Collect();

  for (const MemberIndex member : federation_.Without(4)) {
    EXPECT_EQ(
        RefusalIn(federation_.Step(member, SurvivorsReceived{*federation_.MessageTo(member)})),
        RefusalCode::kDifferencing);
  }
}

TEST_F(RoundAttackTest, MayRevealTheSameSumAgainOrOneOfAnotherModel) {
  ASSERT_TRUE(federation_.Run(1).is_revealed);
  EXPECT_TRUE(federation_.Run(2).is_revealed);
  federation_.model[0] ^= 1;
  EXPECT_TRUE(federation_.Run(3, {}, federation_.Without(4)).is_revealed);
}

TEST_F(RoundAttackTest, ClaimsAResultThatItCannotHave) {
  MaskAll();
  for (const MemberIndex member : federation_.Everybody()) {
    (void)SignatureOf(member, federation_.Everybody());
  }
  PublishedResult result{.session = federation_.view().id(),
                         .round = 1,
                         .survivors = ParticipantsDigest(federation_.Everybody()),
                         .num_included = 5,
                         .sum = DigestOf(1),
                         .vectors = std::vector<crypto::Digest>(5)};
  const Bytes forged = federation_.BySite(1, MessageKind::kRoundResult, Encode(result));
  EXPECT_EQ(RefusalIn(federation_.Step(0, ResultReceived{forged, {}})), RefusalCode::kBadSignature);
  // Signed, but without this site's vector, or over others.
  EXPECT_EQ(
      RefusalIn(federation_.Step(
          0, ResultReceived{federation_.ByCoordinator(MessageKind::kRoundResult, Encode(result)),
                            {}})),
      RefusalCode::kConflictingSets);
}

TEST_F(RoundAttackTest, RevokedMemberAmongTheParticipants) {
  const Bytes start = federation_.Start(federation_.Terms(1, federation_.Everybody()));
  federation_.verifier().Revoke(federation_.view().terms().members[3].site);

  EXPECT_EQ(RefusalIn(federation_.Step(0, federation_.Started(start))),
            RefusalCode::kUnknownCertificate);
  EXPECT_TRUE(federation_
                  .Step(0, federation_.Started(
                               federation_.Start(federation_.Terms(1, federation_.Without(3)))))
                  .ok());
}

}  // namespace
}  // namespace chorale::secagg
