#include "secagg/mask_recovery.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/key_agreement.h"
#include "core/random.h"
#include "secagg/key_schedule.h"
#include "secagg/neighbor_graph.h"
#include "secagg/refusal.h"
#include "secagg/shamir.h"
#include "tests/secagg/federation.h"

namespace chorale::secagg {
namespace {

using crypto::SecretBytes;
using crypto::X25519PublicKey;

// The masks of a sum in no order: key in hexadecimal, whether it is subtracted.
using Masks = std::vector<std::pair<std::string, bool>>;

// A round after its last message, from which every tenth member vanished.
class LostRound {
 public:
  // `chosen`: mask keys that belong to no private key.
  LostRound(std::uint32_t num_members, const std::map<MemberIndex, X25519PublicKey>& chosen)
      : num_members_(num_members), federation_({.num_members = num_members, .num_rounds = 1}) {
    const auto terms = std::make_shared<const SessionTerms>(federation_.server().terms());
    std::vector<AdvertisedKeys> keys;
    for (MemberIndex member = 0; member < num_members; ++member) {
      keys_.push_back(*crypto::X25519PrivateKey::FromBytes(Draw().Reveal()));
      seeds_.push_back(Draw());
      const auto found = chosen.find(member);
      keys.push_back(
          {.manifest = terms->manifest,
           .member = member,
           .channel_key = crypto::X25519PrivateKey::FromBytes(Draw().Reveal())->public_key(),
           .mask_keys = {found == chosen.end() ? keys_.back().public_key() : found->second},
           .neighbors = {}});
      if (terms->neighbors) {
        keys.back().neighbors =
            DrawNeighbors(num_members, member, terms->neighbors->graph.out_degree, random_);
      }
      if (!IsLost(member)) survivors_.push_back(member);
    }
    view_ = std::make_unique<const SessionView>(*SessionView::Create(terms, std::move(keys)));
  }

  static bool IsLost(MemberIndex member) { return member % 10 == 0; }
  [[nodiscard]] const SessionView& view() const { return *view_; }

  [[nodiscard]] Recovery Recover() {
    Answers<UnmaskingShares> responses(num_members_);
    std::vector<UnmaskingShares> contents(num_members_);
    Commitments commitments(num_members_);
    for (MemberIndex dealer = 0; dealer < num_members_; ++dealer) {
      commitments[dealer] = {SeedCommitment(view_->id(), dealer, 1, seeds_[dealer])};
      std::vector<MemberIndex> holders = view_->HoldersOf(dealer);
      if (view_->keeps_own_share()) holders.push_back(dealer);
      std::erase_if(holders, IsLost);
      std::vector<ShareIndex> xs;
      for (const MemberIndex holder : holders) xs.push_back(holder + 1);
      std::vector<SecretShare> shares =
          *ShareSecret(IsLost(dealer) ? keys_[dealer].bytes() : seeds_[dealer],
                       view_->terms().share_threshold(), xs, random_);
      for (std::size_t i = 0; i < holders.size(); ++i) {
        UnmaskingShares& content = contents[holders[i]];
        (IsLost(dealer) ? content.keys : content.seeds).push_back({dealer, std::move(shares[i])});
      }
    }
    for (const MemberIndex member : survivors_) {
      contents[member].member = member;
      responses[member] = std::make_shared<const Received<UnmaskingShares>>(
          Received<UnmaskingShares>{.content = std::move(contents[member])});
    }
    return RecoverMasks({.view = *view_,
                         .terms = {.round = 1, .participants = federation_.Everybody()},
                         .context = context_,
                         .commitments = commitments,
                         .survivors = survivors_,
                         .responses = responses});
  }

  // Made pair by pair.
  [[nodiscard]] Masks Expected() const {
    const Suite suite = view_->terms().suite;
    Masks masks;
    for (const MemberIndex survivor : survivors_) {
      masks.emplace_back(ToHex(SelfMaskKey(seeds_[survivor], context_, suite).Reveal()), true);
      for (const MemberIndex lost : view_->NeighborsOf(survivor)) {
        if (!IsLost(lost)) continue;
        const SecretBytes pair =
            *PairKey(view_->id(), keys_[lost], lost, view_->mask_key(survivor, 1), survivor, 1);
        masks.emplace_back(ToHex(PairMaskKey(pair, context_, suite).Reveal()), lost < survivor);
      }
    }
    std::ranges::sort(masks);
    return masks;
  }

 private:
  SecretBytes Draw() {
    SecretBytes secret(32);
    random_.Fill(secret.MutableReveal());
    return secret;
  }

  std::uint32_t num_members_;
  Federation federation_;
  SeededRandom random_{1};
  crypto::Digest context_ = DigestOf(3);
  std::vector<crypto::X25519PrivateKey> keys_;
  std::vector<SecretBytes> seeds_;
  std::vector<MemberIndex> survivors_;
  std::unique_ptr<const SessionView> view_;
};

Masks MasksOf(const Recovery& recovery) {
  Masks masks;
  for (const OwnedMaskTerm& term : recovery.terms) {
    masks.emplace_back(ToHex(term.key.Reveal()), term.is_subtracted);
  }
  std::ranges::sort(masks);
  return masks;
}

X25519PublicKey Small(std::uint8_t u) { return {u}; }

// 2 and 3 lie on the twist, 4 on the curve; p + 6 is 6, and its highest bit is ignored.
std::map<MemberIndex, X25519PublicKey> Crafted() {
  X25519PublicKey beyond;
  beyond.fill(0xff);
  beyond[0] = 0xf3;
  return {{1, Small(2)}, {7, Small(3)}, {8, Small(4)}, {13, beyond}};
}

TEST(MaskRecoveryTest, GivesTheMasksOfEveryPairInACompleteGraph) {
  for (const std::uint32_t num_members : {5u, 20u, 60u}) {
    LostRound round(num_members, {});

    const Recovery recovery = round.Recover();

    ASSERT_TRUE(recovery.status.ok()) << recovery.status;
    EXPECT_EQ(MasksOf(recovery), round.Expected());
  }
}

TEST(MaskRecoveryTest, GivesTheMasksOfNeighboursInALargeGroup) {
  LostRound round(kMaxCompleteGraph + 12, {});
  ASSERT_TRUE(round.view().terms().neighbors.has_value());

  const Recovery recovery = round.Recover();

  ASSERT_TRUE(recovery.status.ok()) << recovery.status;
  EXPECT_EQ(MasksOf(recovery), round.Expected());
}

TEST(MaskRecoveryTest, GivesTheMasksWithKeysThatNoHonestSiteHas) {
  for (const std::uint32_t num_members : {60u, kMaxCompleteGraph + 12}) {
    LostRound round(num_members, Crafted());

    const Recovery recovery = round.Recover();

    ASSERT_TRUE(recovery.status.ok()) << recovery.status;
    EXPECT_EQ(MasksOf(recovery), round.Expected());
  }
}

TEST(MaskRecoveryTest, RefusesASurvivorsKeyOfLowOrderByName) {
  for (const std::uint8_t u : {std::uint8_t{0}, std::uint8_t{1}}) {
    LostRound round(60, {{9, Small(u)}});

    const Recovery recovery = round.Recover();

    EXPECT_EQ(RefusalOf(recovery.status), RefusalCode::kKeyInvalid);
    EXPECT_TRUE(MessageOf(recovery.status).starts_with("KEY_INVALID: member 9: "))
        << recovery.status;
    EXPECT_TRUE(recovery.terms.empty());
  }
}

}  // namespace
}  // namespace chorale::secagg
