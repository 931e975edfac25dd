#include "secagg/messages.h"

#include <gtest/gtest.h>

#include <set>

#include "secagg/refusal.h"
#include "secagg/round_messages.h"
#include "secagg/setup_messages.h"
#include "tests/secagg/federation.h"

namespace chorale::secagg {
namespace {

crypto::SigningKey AnyKey() { return *crypto::SigningKey::FromSeed(Bytes(32, 5)); }

const Bytes kBody = {8, 1};

TEST(MessagesTest, OpensWhatWasSigned) {
  const Bytes message = SignMessage(MessageKind::kSurvivors, kBody, AnyKey());

  const auto body = OpenMessage(MessageKind::kSurvivors, message, AnyKey().public_key());

  ASSERT_TRUE(body.ok());
  EXPECT_EQ(Bytes(body->begin(), body->end()), kBody);
}

TEST(MessagesTest, ASignatureUnderOneKindIsNoneUnderAnother) {
  const Bytes message = SignMessage(MessageKind::kSurvivors, kBody, AnyKey());

  EXPECT_EQ(RefusalIn(OpenMessage(MessageKind::kRoundStart, message, AnyKey().public_key())),
            RefusalCode::kBadSignature);
}

TEST(MessagesTest, ASignedMessageIsTwoFieldsAndNothingElse) {
  const Bytes good = SignMessage(MessageKind::kSurvivors, kBody, AnyKey());
  Bytes longer = good;
  longer.push_back(0);
  Bytes third_field = good;
  third_field.insert(third_field.end(), {0x18, 1});
  Bytes turned(good.begin() + 4, good.end());
  turned.insert(turned.end(), good.begin(), good.begin() + 4);

  for (const Bytes& bad :
       {Bytes(), Bytes{0x0a}, Bytes(good.begin(), good.end() - 1), longer, third_field, turned}) {
    EXPECT_EQ(RefusalIn(SplitMessage(MessageKind::kSurvivors, bad)), RefusalCode::kMalformed);
  }
}

TEST(MessagesTest, NothingLargerThanItsKindIsLookedAt) {
  for (int kind = 1; kind <= 13; ++kind) {
    const auto one = static_cast<MessageKind>(kind);
    const Bytes large(MaxBytes(one) + 1);
    if (IsSigned(one)) {
      EXPECT_EQ(RefusalIn(SplitMessage(one, large)), RefusalCode::kMalformed) << NameOf(one);
    }
  }
  EXPECT_EQ(RefusalIn(DecodeKeyDirectory(Bytes(MaxBytes(MessageKind::kKeyDirectory) + 1))),
            RefusalCode::kMalformed);
}

TEST(MessagesTest, EveryKindHoldsTheLargestMessage) {
  std::vector<MemberIndex> everybody;
  for (MemberIndex i = 0; i < kMaxMembers; ++i) everybody.push_back(i);
  const std::vector<MemberIndex> others(everybody.begin() + 1, everybody.end());
  AdvertisedKeys keys{.manifest = {},
                      .member = 999,
                      .channel_key = {},
                      .mask_keys = std::vector<crypto::X25519PublicKey>(kMaxRounds),
                      .neighbors = others};
  DealtShares dealt{.session = {},
                    .member = 0,
                    .commitments = std::vector<crypto::Digest>(kMaxRounds),
                    .shares = {.members = others,
                               .sealed = Bytes(others.size() * kMaxRounds * kSealedSharesBytes)}};
  UnmaskingShares shares;
  shares.round = 1;
  for (const MemberIndex member : everybody) shares.seeds.push_back({member, {}});
  const crypto::SigningKey key = AnyKey();

  EXPECT_TRUE(SplitMessage(MessageKind::kAdvertiseKeys,
                           SignMessage(MessageKind::kAdvertiseKeys, Encode(keys), key))
                  .ok());
  EXPECT_TRUE(SplitMessage(MessageKind::kShareKeys,
                           SignMessage(MessageKind::kShareKeys, Encode(dealt), key))
                  .ok());
  EXPECT_TRUE(SplitMessage(MessageKind::kUnmasking,
                           SignMessage(MessageKind::kUnmasking, Encode(shares), key))
                  .ok());
  EXPECT_TRUE(DecodeShareKeys(Encode(dealt)).ok());
  EXPECT_TRUE(DecodeUnmasking(Encode(shares)).ok());
  const Bytes advertisement = SignMessage(MessageKind::kAdvertiseKeys, Encode(keys), key);
  EXPECT_TRUE(
      DecodeKeyDirectory(EncodeKeyDirectory(std::vector<ByteSpan>(1000, advertisement))).ok());
  const Bytes statement =
      SignMessage(MessageKind::kConsistencySignature,
                  Encode(RoundStatement{.member = 999, .seen = {.round = 100}}), key);
  EXPECT_TRUE(DecodeConsistencySignatures(
                  EncodeConsistencySignatures({}, 1, std::vector<ByteSpan>(1000, statement)))
                  .ok());
}

TEST(MessagesTest, FieldsThatAreUnknownOrRepeatedAreRefused) {
  SurvivorSet set{.session = {}, .round = 1, .survivors = {0, 1, 2}};
  const Bytes good = Encode(set);
  Bytes unknown = good;
  unknown.insert(unknown.end(), {0x78, 1});
  Bytes repeated = good;
  repeated.insert(repeated.end(), {0x10, 2});  // The round, again.

  EXPECT_TRUE(DecodeSurvivors(good).ok());
  EXPECT_EQ(RefusalIn(DecodeSurvivors(unknown)), RefusalCode::kMalformed);
  EXPECT_EQ(RefusalIn(DecodeSurvivors(repeated)), RefusalCode::kMalformed);
}

TEST(MessagesTest, NumbersOutsideTheirBoundsAreRefused) {
  const auto refusal_of = [](SurvivorSet set) { return RefusalIn(DecodeSurvivors(Encode(set))); };
  const std::optional<RefusalCode> malformed = RefusalCode::kMalformed;
  EXPECT_EQ(refusal_of({.session = {}, .round = 0, .survivors = {0, 1}}), malformed);
  EXPECT_EQ(refusal_of({.session = {}, .round = 101, .survivors = {0, 1}}), malformed);
  EXPECT_EQ(refusal_of({.session = {}, .round = 1, .survivors = {}}), malformed);
  EXPECT_EQ(refusal_of({.session = {}, .round = 1, .survivors = {1, 0}}), malformed);
  EXPECT_EQ(refusal_of({.session = {}, .round = 1, .survivors = {1, 1}}), malformed);
  EXPECT_EQ(refusal_of({.session = {}, .round = 1, .survivors = {1000}}), malformed);
  EXPECT_EQ(refusal_of({.session = {}, .round = 100, .survivors = {999}}), std::nullopt);
}

TEST(RefusalTest, KeepsItsCodeThroughAContextAndNamesIt) {
  const Status status = Annotate(Refused(RefusalCode::kModelMismatch, "other bytes"), "round 3");

  EXPECT_EQ(RefusalOf(status), RefusalCode::kModelMismatch);
  EXPECT_EQ(MessageOf(status), "round 3: MODEL_MISMATCH: other bytes");
  EXPECT_EQ(RefusalOf(NotFound("nothing")), std::nullopt);
}

TEST(RefusalTest, EveryCodeHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(RefusalCode::kMalformed); ++code) {
    const auto one = static_cast<RefusalCode>(code);
    EXPECT_TRUE(names.insert(NameOf(one)).second) << NameOf(one);
    EXPECT_EQ(RefusalOf(Refused(one, "x")), one);
  }
}

TEST(DifferencingGuardTest, RefusesSetsThatDifferByOneAndForgetsNothingUntilItIsFull) {
  const auto sum = [](std::vector<SiteId> sites, std::uint8_t task = 1) {
    return RevealedSum{.model = DigestOf(1), .task = DigestOf(task), .sites = std::move(sites)};
  };
  const SiteId a("a"), b("b"), c("c"), d("d");
  DifferencingGuard guard;
  guard.Record(sum({a, b, c}));
  guard.Record(sum({a, b, c}));

  EXPECT_EQ(guard.sums().size(), 1u);
  EXPECT_TRUE(guard.Check(sum({a, b, c})).ok());
  EXPECT_EQ(RefusalOf(guard.Check(sum({a, b}))), RefusalCode::kDifferencing);
  EXPECT_EQ(RefusalOf(guard.Check(sum({a, b, c, d}))), RefusalCode::kDifferencing);
  EXPECT_TRUE(guard.Check(sum({a, b, d})).ok());  // One left and one came: two differ.
  EXPECT_TRUE(guard.Check(sum({a, b}, 2)).ok());
  EXPECT_TRUE(DifferencingGuard(0, guard.sums()).Check(sum({a, b})).ok());
  EXPECT_FALSE(DifferencingGuard(3, guard.sums()).Check(sum({a, b, d})).ok());
}

}  // namespace
}  // namespace chorale::secagg
