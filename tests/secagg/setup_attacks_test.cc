#include <gtest/gtest.h>

#include <algorithm>

#include "core/crypto/digest.h"
#include "secagg/round_messages.h"
#include "secagg/setup_messages.h"
#include "tests/secagg/federation.h"

// A coordinator that lies while a session is set up.
namespace chorale::secagg {
namespace {

class SetupAttackTest : public ::testing::Test {
 protected:
  // The honest manifest, for a test to spoil one field of.
  v1::SessionManifest Manifest() {
    const auto parts = SplitMessage(MessageKind::kSessionManifest, federation_.server().manifest());
    return *DecodeManifest(parts->body);
  }
  StatusOr<std::vector<ClientAction>> Receive(const v1::SessionManifest& manifest) {
    const std::string body = manifest.SerializeAsString();
    return federation_.Step(
        0, ManifestReceived{federation_.ByCoordinator(
               MessageKind::kSessionManifest, Bytes(AsBytes(body).begin(), AsBytes(body).end()))});
  }
  // What each member advertises for the honest manifest.
  std::vector<Bytes> Advertisements() {
    std::vector<Bytes> messages;
    for (const MemberIndex member : federation_.Everybody()) {
      messages.push_back(
          OnlySend(federation_.Step(member, ManifestReceived{federation_.server().manifest()})));
    }
    return messages;
  }
  static Bytes Directory(const std::vector<Bytes>& messages) {
    return EncodeKeyDirectory(std::vector<ByteSpan>(messages.begin(), messages.end()));
  }
  static AdvertisedKeys KeysIn(const Bytes& message) {
    return *DecodeAdvertiseKeys(SplitMessage(MessageKind::kAdvertiseKeys, message)->body);
  }

  Federation federation_;
};

TEST_F(SetupAttackTest, ShowsASiteAnotherKeyOfAMember) {
  std::vector<Bytes> messages = Advertisements();
  AdvertisedKeys substitute = KeysIn(messages[1]);
  substitute.channel_key = DigestOf(0x5a);
  messages[1] = federation_.ByCoordinator(MessageKind::kAdvertiseKeys, Encode(substitute));

  EXPECT_EQ(RefusalIn(federation_.Step(0, KeysReceived{Directory(messages)})),
            RefusalCode::kBadSignature);
}

TEST_F(SetupAttackTest, ShowsASiteItsOwnKeysAlteredOrNotAtAll) {
  const std::vector<Bytes> messages = Advertisements();
  const Bytes missing = Directory({messages[1], messages[2], messages[3], messages[4]});
  federation_.Restart(0);  // Another message of site 0, under its own signature.
  std::vector<Bytes> altered = messages;
  altered[0] = OnlySend(federation_.Step(0, ManifestReceived{federation_.server().manifest()}));
  federation_.Restart(0);
  (void)federation_.Step(0, ManifestReceived{federation_.server().manifest()});

  EXPECT_EQ(RefusalIn(federation_.Step(0, KeysReceived{missing})), RefusalCode::kKeyInvalid);
  EXPECT_EQ(RefusalIn(federation_.Step(0, KeysReceived{Directory(altered)})),
            RefusalCode::kKeyInvalid);
}

TEST_F(SetupAttackTest, ShowsTwoSitesDifferentListsOfKeys) {
  const std::vector<Bytes> messages = Advertisements();
  const Bytes shorter = Directory({messages[0], messages[1], messages[2], messages[3]});
  const Bytes dealt_apart = OnlySend(federation_.Step(0, KeysReceived{shorter}));
  (void)federation_.Step(1, KeysReceived{Directory(messages)});
  const DealtShares apart =
      *DecodeShareKeys(SplitMessage(MessageKind::kShareKeys, dealt_apart)->body);

  ASSERT_NE(federation_.site(0).session()->id(), federation_.site(1).session()->id());
  const ByteSpan sealed = apart.shares.Of(1);
  const Bytes delivery = Encode(
      DeliveredShares{.session = federation_.site(1).session()->id(),
                      .member = 1,
                      .shares = {.members = {0}, .sealed = Bytes(sealed.begin(), sealed.end())}});
  const Bytes ack = OnlySend(federation_.Step(1, SharesReceived{delivery}));

  EXPECT_TRUE(
      DecodeShareKeysAck(SplitMessage(MessageKind::kShareKeysAck, ack)->body)->dealers.empty());
}

TEST_F(SetupAttackTest, AddsACertificateThatTheAuthorityDoesNotKnow) {
  v1::SessionManifest manifest = Manifest();
  v1::ManifestMember* sybil = manifest.add_members();
  sybil->set_site("zz-sybil");
  sybil->set_certificate(
      PlainVerifier::CertificateOf(SiteId("zz-sybil"), federation_.coordinator_key().public_key()));
  manifest.set_threshold(4);

  EXPECT_EQ(RefusalIn(Receive(manifest)), RefusalCode::kUnknownCertificate);
}

TEST_F(SetupAttackTest, LowersTheThreshold) {
  v1::SessionManifest half = Manifest();
  half.set_threshold(2);
  v1::SessionManifest one = Manifest();
  one.set_threshold(1);
  v1::SessionManifest none_collude = Manifest();
  none_collude.set_colluders(0);
  none_collude.set_threshold(3);

  EXPECT_EQ(RefusalIn(Receive(half)), RefusalCode::kThresholdTooLow);
  EXPECT_EQ(RefusalIn(Receive(one)), RefusalCode::kThresholdTooLow);
  EXPECT_EQ(RefusalIn(Receive(none_collude)), RefusalCode::kThresholdTooLow);
}

TEST_F(SetupAttackTest, MakesTheGroupTooSmall) {
  v1::SessionManifest two = Manifest();
  two.set_min_group(2);
  v1::SessionManifest pair = Manifest();
  pair.mutable_members()->DeleteSubrange(2, 3);

  EXPECT_EQ(RefusalIn(Receive(two)), RefusalCode::kGroupTooSmall);
  EXPECT_FALSE(Receive(pair).ok());
}

TEST_F(SetupAttackTest, NamesOneSiteTwice) {
  v1::SessionManifest manifest = Manifest();
  *manifest.mutable_members(2) = manifest.members(1);

  EXPECT_EQ(RefusalIn(Receive(manifest)), RefusalCode::kUnknownCertificate);
}

TEST_F(SetupAttackTest, GivesTwoSitesOneKey) {
  v1::SessionManifest manifest = Manifest();
  const SiteId site(manifest.members(2).site());
  federation_.verifier().Admit(site, federation_.key(1).public_key());
  manifest.mutable_members(2)->set_certificate(
      PlainVerifier::CertificateOf(site, federation_.key(1).public_key()));

  EXPECT_EQ(RefusalIn(Receive(manifest)), RefusalCode::kUnknownCertificate);
}

TEST_F(SetupAttackTest, RepeatsAKeyOfAnotherMember) {
  std::vector<Bytes> messages = Advertisements();
  AdvertisedKeys copied = KeysIn(messages[1]);
  copied.mask_keys[0] = KeysIn(messages[2]).mask_keys[0];
  messages[1] = federation_.BySite(1, MessageKind::kAdvertiseKeys, Encode(copied));

  EXPECT_EQ(RefusalIn(federation_.Step(0, KeysReceived{Directory(messages)})),
            RefusalCode::kKeyInvalid);
}

TEST_F(SetupAttackTest, OffersAPointOfLowOrder) {
  std::vector<Bytes> messages = Advertisements();
  AdvertisedKeys low = KeysIn(messages[1]);
  low.channel_key = {};
  const Bytes message = federation_.BySite(1, MessageKind::kAdvertiseKeys, Encode(low));
  messages[1] = message;

  EXPECT_EQ(RefusalIn(federation_.Step(0, KeysReceived{Directory(messages)})),
            RefusalCode::kKeyInvalid);
  EXPECT_EQ(RefusalIn(federation_.Step(MessageReceived{1, MessageKind::kAdvertiseKeys, message})),
            RefusalCode::kKeyInvalid);
}

TEST_F(SetupAttackTest, OffersAMaskKeyOfLowOrder) {
  std::vector<Bytes> messages = Advertisements();
  AdvertisedKeys low = KeysIn(messages[1]);
  low.mask_keys[0] = {1};
  messages[1] = federation_.BySite(1, MessageKind::kAdvertiseKeys, Encode(low));
  ASSERT_TRUE(federation_.Step(0, KeysReceived{Directory(messages)}).ok());
  const Bytes nothing = Encode(
      DeliveredShares{.session = federation_.site(0).session()->id(), .member = 0, .shares = {}});
  ASSERT_TRUE(federation_.Step(0, SharesReceived{nothing}).ok());
  RoundTerms terms{.session = federation_.site(0).session()->id(),
                   .round = 1,
                   .participants = federation_.Everybody(),
                   .model = federation_.model,
                   .task = federation_.task,
                   .encoding = federation_.encoding,
                   .vector_bytes = federation_.spec().size_bytes(),
                   .sent_at = federation_.now,
                   .deadline = federation_.now + std::chrono::minutes(1)};

  EXPECT_EQ(RefusalIn(federation_.Step(0, federation_.Started(federation_.Start(terms)))),
            RefusalCode::kKeyInvalid);
}

TEST_F(SetupAttackTest, ChoosesTheNeighboursOfASmallGroup) {
  v1::SessionManifest manifest = Manifest();
  manifest.mutable_neighbors()->set_out_degree(2);
  manifest.mutable_neighbors()->set_share_threshold(2);
  manifest.mutable_neighbors()->set_dropout_permille(100);

  EXPECT_EQ(RefusalIn(Receive(manifest)), RefusalCode::kParametersNotApproved);
}

TEST_F(SetupAttackTest, StartsASessionUnderAnUsedNonce) {
  (void)Advertisements();
  v1::SessionManifest other = Manifest();
  other.set_num_rounds(2);

  const auto second = Receive(other);

  ASSERT_TRUE(second.ok()) << second.status();
  const auto& withdrawn = std::get<Withdraw>(second->front());
  EXPECT_FALSE(withdrawn.round.has_value());
  EXPECT_EQ(RefusalOf(withdrawn.reason), RefusalCode::kEquivocation);
  ASSERT_EQ(federation_.site(0).evidence().size(), 1u);
  const Evidence& evidence = federation_.site(0).evidence().front();
  EXPECT_EQ(evidence.first, federation_.server().manifest());
  EXPECT_TRUE(OpenMessage(MessageKind::kSessionManifest, evidence.second,
                          federation_.coordinator_key().public_key())
                  .ok());
  EXPECT_TRUE(std::holds_alternative<Closed>(federation_.site(0).state()));
}

TEST_F(SetupAttackTest, StartsALaterSessionUnderAnUsedNonce) {
  ClientOptions options = federation_.OptionsOf(0);
  options.used_nonces = {DigestOf(7)};
  ClientSession later = *ClientSession::Create(std::move(options));

  EXPECT_EQ(
      RefusalIn(later.Step(ManifestReceived{federation_.server().manifest()}, federation_.now)),
      RefusalCode::kSessionReplayed);
}

TEST_F(SetupAttackTest, SwapsSealsBetweenReceiversRoundsAndSessions) {
  federation_.Advertise();
  std::vector<DealtShares> dealt;
  for (const MemberIndex member : federation_.Everybody()) {
    const Bytes keys = *federation_.MessageTo(member);
    const Bytes message = OnlySend(federation_.Step(member, KeysReceived{keys}));
    dealt.push_back(*DecodeShareKeys(SplitMessage(MessageKind::kShareKeys, message)->body));
  }
  const std::size_t row = 3 * kSealedSharesBytes;
  DeliveredShares delivered{.session = federation_.view().id(),
                            .member = 0,
                            .shares = {.members = {1, 2, 3, 4}, .sealed = {}}};
  const auto append = [&](ByteSpan seal) {
    delivered.shares.sealed.insert(delivered.shares.sealed.end(), seal.begin(), seal.end());
  };
  append(dealt[1].shares.Of(2));  // For another receiver.
  append(dealt[1].shares.Of(0));  // Of another dealer.
  const ByteSpan third = dealt[3].shares.Of(0);
  append(third.subspan(kSealedSharesBytes, kSealedSharesBytes));  // Rounds 2, 1, 3.
  append(third.first(kSealedSharesBytes));
  append(third.last(kSealedSharesBytes));
  append(dealt[4].shares.Of(0));  // Untouched.
  ASSERT_EQ(delivered.shares.sealed.size(), 4 * row);

  const Bytes ack = OnlySend(federation_.Step(0, SharesReceived{Encode(delivered)}));

  EXPECT_EQ(DecodeShareKeysAck(SplitMessage(MessageKind::kShareKeysAck, ack)->body)->dealers,
            std::vector<MemberIndex>{4});
  Federation other({.seed = 1, .nonce = 8});
  other.Advertise();
  (void)other.Step(0, KeysReceived{*other.MessageTo(0)});
  DeliveredShares foreign = delivered;
  foreign.member = 0;
  EXPECT_EQ(RefusalIn(other.Step(0, SharesReceived{Encode(foreign)})), RefusalCode::kWrongSession);
  foreign.session = other.view().id();
  const Bytes none = OnlySend(other.Step(0, SharesReceived{Encode(foreign)}));
  EXPECT_TRUE(
      DecodeShareKeysAck(SplitMessage(MessageKind::kShareKeysAck, none)->body)->dealers.empty());
}

TEST_F(SetupAttackTest, IsOfAnotherJobFederationSuiteOrLifetimeThanApproved) {
  const auto refusal_of = [&](auto change) {
    v1::SessionManifest manifest = Manifest();
    change(manifest);
    return RefusalIn(Receive(manifest));
  };
  constexpr auto kNot = RefusalCode::kParametersNotApproved;
  EXPECT_EQ(refusal_of([](auto& m) { m.set_job_id("job-2"); }), kNot);
  EXPECT_EQ(refusal_of([](auto& m) { m.mutable_job_digest()->front() = 1; }), kNot);
  EXPECT_EQ(refusal_of([](auto& m) { m.set_federation("south"); }), kNot);
  EXPECT_EQ(refusal_of([](auto& m) { m.set_suite(3); }), RefusalCode::kMalformed);
  EXPECT_EQ(refusal_of([](auto& m) { m.set_version(2); }), RefusalCode::kMalformed);
  EXPECT_EQ(refusal_of([](auto& m) {
              m.mutable_not_after()->set_seconds(m.created_at().seconds() + 86401);
            }),
            RefusalCode::kMalformed);
  EXPECT_EQ(refusal_of([](auto&) {}), std::nullopt);
}

TEST_F(SetupAttackTest, SignsTheManifestWithAnotherKey) {
  const auto parts = SplitMessage(MessageKind::kSessionManifest, federation_.server().manifest());
  const Bytes forged = federation_.BySite(1, MessageKind::kSessionManifest,
                                          Bytes(parts->body.begin(), parts->body.end()));

  EXPECT_EQ(RefusalIn(federation_.Step(0, ManifestReceived{forged})), RefusalCode::kBadSignature);
}

}  // namespace
}  // namespace chorale::secagg
