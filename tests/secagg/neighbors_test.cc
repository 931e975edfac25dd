#include <gtest/gtest.h>

#include <algorithm>

#include "core/crypto/digest.h"
#include "secagg/round_messages.h"
#include "secagg/setup_messages.h"
#include "tests/secagg/federation.h"

// A group too large for everybody to share with everybody.
namespace chorale::secagg {
namespace {

constexpr std::uint32_t kMembers = kMaxCompleteGraph + 2;

TEST(NeighborsTest, ARoundOfALargeGroupGivesTheSumOfItsSurvivors) {
  Federation federation({.num_members = kMembers, .num_rounds = 1});
  ASSERT_TRUE(federation.server().terms().neighbors.has_value());
  federation.SetUp({{3, DropPoint::kAfterKeys}});

  const Outcome outcome = federation.Run(1, {{0, DropPoint::kBeforeUpload},
                                             {64, DropPoint::kAfterUpload},
                                             {kMembers - 1, DropPoint::kBeforeUpload}});

  ASSERT_TRUE(outcome.is_revealed) << outcome.reason;
  EXPECT_EQ(outcome.survivors.size(), kMembers - 3);
  EXPECT_EQ(outcome.sum, federation.SumOf(outcome.survivors));
}

// One real site; the coordinator speaks for everybody else.
class LyingAboutNeighborsTest : public ::testing::Test {
 protected:
  LyingAboutNeighborsTest() : federation_({.num_members = kMembers, .num_rounds = 1}) {
    own_ = OnlySend(federation_.Step(0, ManifestReceived{federation_.server().manifest()}));
    messages_.push_back(own_);
    SeededRandom random(5);
    const NeighborTerms& terms = *federation_.server().terms().neighbors;
    for (MemberIndex member = 1; member < kMembers; ++member) {
      AdvertisedKeys keys{
          .manifest = federation_.server().terms().manifest,
          .member = member,
          .channel_key = {},
          .mask_keys = {},
          .neighbors = DrawNeighbors(kMembers, member, terms.graph.out_degree, random)};
      keys.channel_key = Key(random);
      keys.mask_keys.push_back(Key(random));
      advertised_.push_back(keys);
      messages_.push_back(federation_.BySite(member, MessageKind::kAdvertiseKeys, Encode(keys)));
    }
  }
  static crypto::X25519PublicKey Key(RandomSource& random) {
    Bytes bytes(32);
    random.Fill(bytes);
    return crypto::X25519PrivateKey::FromBytes(bytes)->public_key();
  }
  [[nodiscard]] StatusOr<std::vector<ClientAction>> Receive() {
    return federation_.Step(0, KeysReceived{EncodeKeyDirectory(
                                   std::vector<ByteSpan>(messages_.begin(), messages_.end()))});
  }
  [[nodiscard]] AdvertisedKeys Own() const {
    return *DecodeAdvertiseKeys(SplitMessage(MessageKind::kAdvertiseKeys, own_)->body);
  }
  void Join() {
    ASSERT_TRUE(Receive().ok());
    const Bytes nothing = Encode(
        DeliveredShares{.session = federation_.site(0).session()->id(), .member = 0, .shares = {}});
    ASSERT_TRUE(federation_.Step(0, SharesReceived{nothing}).ok());
  }
  [[nodiscard]] Bytes StartOver(const std::vector<MemberIndex>& participants) const {
    const RoundTerms terms{.session = federation_.view_of(0).id(),
                           .round = 1,
                           .participants = participants,
                           .model = federation_.model,
                           .task = federation_.task,
                           .encoding = federation_.encoding,
                           .vector_bytes = federation_.spec().size_bytes(),
                           .sent_at = federation_.now,
                           .deadline = federation_.now + std::chrono::minutes(1)};
    return federation_.Start(terms);
  }
  // Everybody but so many of those that site 0 drew.
  [[nodiscard]] std::vector<MemberIndex> WithoutNeighbors(std::size_t count) const {
    std::vector<MemberIndex> rest = federation_.Everybody();
    const std::vector<MemberIndex> drawn = Own().neighbors;
    for (std::size_t i = 0; i < count; ++i) std::erase(rest, drawn[i]);
    return rest;
  }

  Federation federation_;
  Bytes own_;
  std::vector<AdvertisedKeys> advertised_;  // Of members from 1 on.
  std::vector<Bytes> messages_;
};

TEST_F(LyingAboutNeighborsTest, SharesGoToTheNeighboursThatTheSiteDrewAndToNobodyElse) {
  const auto sent = Receive();

  const DealtShares dealt =
      *DecodeShareKeys(SplitMessage(MessageKind::kShareKeys, OnlySend(sent))->body);
  EXPECT_EQ(dealt.shares.members, Own().neighbors);
}

TEST_F(LyingAboutNeighborsTest, ChangesTheNeighboursOfTheSite) {
  AdvertisedKeys changed = Own();
  changed.neighbors.back() = changed.neighbors.back() == kMembers - 1 ? kMembers - 2 : kMembers - 1;
  std::ranges::sort(changed.neighbors);
  messages_[0] = federation_.ByCoordinator(MessageKind::kAdvertiseKeys, Encode(changed));

  EXPECT_FALSE(Receive().ok());
}

TEST_F(LyingAboutNeighborsTest, ChangesTheNeighboursOfAnother) {
  AdvertisedKeys& changed = advertised_[10];
  changed.neighbors =
      DrawNeighbors(kMembers, changed.member, static_cast<std::uint32_t>(changed.neighbors.size()),
                    *std::make_unique<SeededRandom>(99));
  messages_[changed.member] =
      federation_.ByCoordinator(MessageKind::kAdvertiseKeys, Encode(changed));

  EXPECT_EQ(RefusalIn(Receive()), RefusalCode::kBadSignature);
}

TEST_F(LyingAboutNeighborsTest, DropsSoManyNeighboursThatNobodyIsLeftToHideBehind) {
  Join();
  const std::uint32_t threshold = federation_.server().terms().share_threshold();
  const std::size_t drawn = Own().neighbors.size();
  const auto tell = [&](std::size_t count) {
    return RefusalIn(federation_.Step(0, federation_.Started(StartOver(WithoutNeighbors(count)))));
  };
  ASSERT_GE(WithoutNeighbors(drawn - threshold + 1).size(),
            federation_.server().terms().least_set());

  EXPECT_EQ(tell(drawn - threshold + 1), RefusalCode::kGroupTooSmall);
  EXPECT_EQ(tell(drawn - threshold), std::nullopt);
}

TEST_F(LyingAboutNeighborsTest, StatesAnotherDegreeOrThreshold) {
  const auto refusal_of = [&](auto change) {
    v1::SessionManifest manifest = *DecodeManifest(
        SplitMessage(MessageKind::kSessionManifest, federation_.server().manifest())->body);
    change(*manifest.mutable_neighbors());
    const std::string body = manifest.SerializeAsString();
    federation_.Restart(0);
    return RefusalIn(federation_.Step(
        0, ManifestReceived{federation_.ByCoordinator(
               MessageKind::kSessionManifest, Bytes(AsBytes(body).begin(), AsBytes(body).end()))}));
  };
  using Graph = v1::NeighborGraph;
  EXPECT_EQ(refusal_of([](Graph& g) { g.set_out_degree(g.out_degree() - 2); }),
            RefusalCode::kParametersNotApproved);
  EXPECT_EQ(refusal_of([](Graph& g) { g.set_share_threshold(g.share_threshold() - 1); }),
            RefusalCode::kThresholdTooLow);
  EXPECT_FALSE(refusal_of([](Graph&) {}).has_value());
}

}  // namespace
}  // namespace chorale::secagg
