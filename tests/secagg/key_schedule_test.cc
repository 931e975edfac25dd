#include "secagg/key_schedule.h"

#include <gtest/gtest.h>

#include <set>

#include "core/bytes.h"
#include "core/random.h"
#include "secagg/refusal.h"
#include "tests/core/crypto/x25519_points.h"
#include "tests/secagg/known_answers.h"

namespace chorale::secagg {
namespace {

using crypto::SecretBytes;

RoundBinding KnownBinding() {
  return {
      DigestOf(kKnownSession), kKnownRound, Filled(0x11), Filled(0x22), Filled(0x33), Filled(0x44)};
}

std::string HexOf(const SecretBytes& secret) { return ToHex(secret.Reveal()); }

TEST(KeyScheduleTest, GivesTheKnownSessionAndContext) {
  EXPECT_EQ(ToHex(SessionIdOf(Filled(0), Filled(0xff))), kKnownSession);
  EXPECT_EQ(ToHex(ContextOf(KnownBinding())), kKnownContext);
}

TEST(KeyScheduleTest, GivesTheKnownPairKeyToBothSides) {
  const crypto::Digest sid = DigestOf(kKnownSession);

  const auto alice = PairKey(sid, Alice(), kAliceIndex, Bob().public_key(), kBobIndex, kKnownRound);
  const auto bob = PairKey(sid, Bob(), kBobIndex, Alice().public_key(), kAliceIndex, kKnownRound);

  ASSERT_TRUE(alice.ok() && bob.ok());
  EXPECT_EQ(HexOf(*alice), kKnownPairKey);
  EXPECT_EQ(HexOf(*bob), kKnownPairKey);
}

TEST(KeyScheduleTest, GivesWithManyTheKeysItGivesWithEach) {
  const crypto::Digest sid = DigestOf(kKnownSession);
  std::vector<Peer> peers;
  for (MemberIndex i = 0; i < 20; ++i) {
    peers.push_back({i + kAliceIndex + 1, crypto::X25519PrivateKey::Generate().public_key()});
  }

  const auto all = PairKeys(sid, Alice(), kAliceIndex, peers, kKnownRound);

  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->size(), peers.size());
  for (std::size_t i = 0; i < peers.size(); ++i) {
    const auto one = PairKey(sid, Alice(), kAliceIndex, peers[i].key, peers[i].index, kKnownRound);
    EXPECT_EQ(HexOf((*all)[i]), HexOf(*one));
  }
}

TEST(KeyScheduleTest, NamesTheOneOfManyWhoseKeyIsOfLowOrder) {
  std::vector<Peer> peers;
  for (MemberIndex i = 0; i < 9; ++i) peers.push_back({i, Bob().public_key()});
  peers[5].key = {};

  const Status refused = PairKeys(Filled(1), Alice(), 20, peers, 1).status();

  EXPECT_EQ(RefusalOf(refused), RefusalCode::kKeyInvalid);
  EXPECT_TRUE(MessageOf(refused).starts_with("KEY_INVALID: member 5: ")) << MessageOf(refused);
}

TEST(KeyScheduleTest, GivesTheKnownMaskKeys) {
  const SecretBytes pair_key(Hex(kKnownPairKey));
  const crypto::Digest context = DigestOf(kKnownContext);

  EXPECT_EQ(HexOf(PairMaskKey(pair_key, context, Suite::kAes128Ctr)), kKnownPairMaskKey);
  EXPECT_EQ(HexOf(SelfMaskKey(Counting(0, 32), context, Suite::kAes128Ctr)), kKnownSelfMaskKey);
  // HKDF-Expand: the longer key starts with the shorter one.
  const std::string longer = HexOf(PairMaskKey(pair_key, context, Suite::kAes256Ctr));
  EXPECT_EQ(longer.size(), 64u);
  EXPECT_TRUE(longer.starts_with(kKnownPairMaskKey));
}

TEST(KeyScheduleTest, SealsTheKnownSharesUnderTheKnownChannelKey) {
  const crypto::Digest sid = DigestOf(kKnownSession);
  const auto sender =
      ChannelKey(sid, Alice(), kAliceIndex, Bob().public_key(), kBobIndex, kAliceIndex, kBobIndex);
  const auto receiver =
      ChannelKey(sid, Bob(), kBobIndex, Alice().public_key(), kAliceIndex, kAliceIndex, kBobIndex);
  ASSERT_TRUE(sender.ok() && receiver.ok());

  const Bytes sealed =
      SealShares(*sender, sid, kKnownRound, kAliceIndex, kBobIndex, kSharesType, Bytes(80));

  EXPECT_EQ(ToHex(sealed),
            "27e22c03d2c3276856ee8b0013866ad9e9d6fd45bd70f5b45349b3f9ec22ab155aaf8611d1c90210a2f156"
            "b8754f9f4f84a5f9b83d2616130063035ce5e251eb071141c23dbd66828b8358a9fbd46c1f2a378fcef8d5"
            "3aa13c57f939d0d1bace");
  EXPECT_EQ(sealed.size(), kSealedSharesBytes);
  const auto opened =
      OpenShares(*receiver, sid, kKnownRound, kAliceIndex, kBobIndex, kSharesType, sealed);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(HexOf(*opened), ToHex(Bytes(80)));
}

TEST(KeyScheduleTest, OpensSharesForNothingElse) {
  const crypto::Digest sid = DigestOf(kKnownSession);
  const auto key = ChannelKey(sid, Alice(), 3, Bob().public_key(), 7, 3, 7);
  const auto back = ChannelKey(sid, Alice(), 3, Bob().public_key(), 7, 7, 3);
  const Bytes sealed = SealShares(*key, sid, 5, 3, 7, 1, Counting(9, 80).Reveal());
  const auto code = [&](const crypto::AeadKey& with, const crypto::Digest& session,
                        std::uint64_t round, MemberIndex from, MemberIndex to, std::uint32_t type) {
    return OpenShares(with, session, round, from, to, type, sealed).status().code();
  };

  EXPECT_EQ(code(*key, sid, 5, 3, 7, 1), StatusCode::kOk);
  EXPECT_EQ(code(*back, sid, 5, 3, 7, 1), StatusCode::kDataLoss);
  EXPECT_EQ(code(*key, Filled(1), 5, 3, 7, 1), StatusCode::kDataLoss);
  EXPECT_EQ(code(*key, sid, 6, 3, 7, 1), StatusCode::kDataLoss);
  EXPECT_EQ(code(*key, sid, 5, 4, 7, 1), StatusCode::kDataLoss);
  EXPECT_EQ(code(*key, sid, 5, 3, 8, 1), StatusCode::kDataLoss);
  EXPECT_EQ(code(*key, sid, 5, 7, 3, 1), StatusCode::kDataLoss);
  EXPECT_EQ(code(*key, sid, 5, 3, 7, 2), StatusCode::kDataLoss);
}

TEST(KeyScheduleTest, RefusesChannelsThatAreNotOfThePair) {
  const crypto::Digest sid = DigestOf(kKnownSession);
  const auto code = [&](MemberIndex own, MemberIndex peer, MemberIndex from, MemberIndex to) {
    return ChannelKey(sid, Alice(), own, Bob().public_key(), peer, from, to).status().code();
  };

  EXPECT_EQ(code(3, 7, 7, 3), StatusCode::kOk);
  EXPECT_EQ(code(3, 3, 3, 3), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(3, 7, 3, 3), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(3, 7, 3, 8), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(3, 7, 4, 7), StatusCode::kInvalidArgument);
  EXPECT_EQ(PairKey(sid, Alice(), 3, Bob().public_key(), 3, 1).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(KeyScheduleTest, RefusesKeysOfLowOrderByName) {
  for (const crypto::X25519PublicKey& low : crypto::LowOrderPoints()) {
    const Status pair = PairKey(Filled(1), Alice(), 3, low, 7, 1).status();
    const Status channel = ChannelKey(Filled(1), Alice(), 3, low, 7, 3, 7).status();

    EXPECT_EQ(RefusalOf(pair), RefusalCode::kKeyInvalid) << ToHex(low);
    EXPECT_EQ(RefusalOf(channel), RefusalCode::kKeyInvalid) << ToHex(low);
    EXPECT_TRUE(MessageOf(pair).starts_with("KEY_INVALID: member 7: ")) << MessageOf(pair);
  }
}

TEST(KeyScheduleTest, ChangesTheContextWithEveryBitItBinds) {
  std::set<std::string> seen = {ToHex(ContextOf(KnownBinding()))};
  const auto expect_new = [&](const RoundBinding& binding) {
    EXPECT_TRUE(seen.insert(ToHex(ContextOf(binding))).second);
  };
  for (const auto field : {&RoundBinding::session_id, &RoundBinding::model, &RoundBinding::task,
                           &RoundBinding::encoding, &RoundBinding::participants}) {
    for (std::size_t bit = 0; bit < 256; ++bit) {
      RoundBinding binding = KnownBinding();
      (binding.*field)[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
      expect_new(binding);
    }
  }
  for (int bit = 0; bit < 64; ++bit) {
    RoundBinding binding = KnownBinding();
    binding.round ^= std::uint64_t{1} << bit;
    expect_new(binding);
  }
}

TEST(KeyScheduleTest, ChangesEveryMaskWithTheContext) {
  const SecretBytes secret = Counting(1, 32);
  std::set<std::string> keys;
  for (std::size_t bit = 0; bit < 256; ++bit) {
    crypto::Digest context = DigestOf(kKnownContext);
    context[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    // The first block of the keystream, not only the key.
    for (const bool is_pair : {false, true}) {
      const SecretBytes key = is_pair ? PairMaskKey(secret, context, Suite::kAes128Ctr)
                                      : SelfMaskKey(secret, context, Suite::kAes128Ctr);
      const MaskTerm term = {&key, false};
      Bytes mask(16);
      ASSERT_TRUE(
          ApplyMasks(*VectorSpec::Create({{RingBits::k32, 4}}), 0, mask, {&term, 1}, 1).ok());
      EXPECT_TRUE(keys.insert(ToHex(mask)).second) << bit;
    }
  }
}

TEST(KeyScheduleTest, GivesEveryPairRoundAndContextAKeyOfItsOwn) {
  // Five members with one-time keys for each of four rounds, as in a session.
  constexpr std::uint32_t kMembers = 5;
  constexpr std::uint64_t kRounds = 4;
  SeededRandom random(7);
  std::set<std::string> keys;
  std::size_t num_keys = 0;
  for (std::uint64_t round = 1; round <= kRounds; ++round) {
    std::vector<crypto::X25519PrivateKey> members;
    for (std::uint32_t i = 0; i < kMembers; ++i) {
      Bytes bytes(32);
      random.Fill(bytes);
      members.push_back(*crypto::X25519PrivateKey::FromBytes(bytes));
    }
    for (std::uint8_t model = 0; model < 3; ++model) {
      RoundBinding binding = KnownBinding();
      binding.round = round;
      binding.model = Filled(model);
      const crypto::Digest context = ContextOf(binding);
      for (std::uint32_t i = 0; i < kMembers; ++i) {
        for (std::uint32_t j = 0; j < i; ++j) {
          const auto pair =
              PairKey(binding.session_id, members[i], i, members[j].public_key(), j, round);
          ASSERT_TRUE(pair.ok());
          keys.insert(HexOf(PairMaskKey(*pair, context, Suite::kAes128Ctr)));
          ++num_keys;
        }
        keys.insert(HexOf(SelfMaskKey(members[i].bytes(), context, Suite::kAes128Ctr)));
        ++num_keys;
      }
    }
  }
  EXPECT_EQ(keys.size(), num_keys);
}

TEST(KeyScheduleTest, BindsThePairKeyToItsSessionRoundAndPlaces) {
  std::set<std::string> keys;
  const auto add = [&](const crypto::Digest& sid, MemberIndex own, MemberIndex peer,
                       std::uint64_t round) {
    const auto key = PairKey(sid, Alice(), own, Bob().public_key(), peer, round);
    ASSERT_TRUE(key.ok());
    EXPECT_TRUE(keys.insert(HexOf(*key)).second);
  };

  add(Filled(1), 3, 7, 5);
  add(Filled(2), 3, 7, 5);
  add(Filled(1), 3, 7, 6);
  add(Filled(1), 3, 8, 5);
  add(Filled(1), 4, 7, 5);
  add(Filled(1), 7, 3, 5);  // The places swapped: the order of the public keys as well.
}

TEST(KeyScheduleTest, DistinguishesSetsOfParticipants) {
  const auto digest = [](std::vector<MemberIndex> members) {
    return ToHex(ParticipantsDigest(members));
  };
  std::set<std::string> seen;

  for (const std::vector<MemberIndex>& members : std::vector<std::vector<MemberIndex>>{
           {}, {0}, {1}, {0, 1}, {0, 2}, {0, 1, 2}, {256}, {65536}}) {
    EXPECT_TRUE(seen.insert(digest(members)).second);
  }
  EXPECT_EQ(digest({3, 7}),
            ToHex(crypto::Sha256(Hex("666c2d7365636167672f76312f7061727469636970616e7473"
                                     "0000000300000007"))));
}

TEST(KeyScheduleTest, CommitsToTheSeedOfOneMemberAndRound) {
  const crypto::Digest sid = DigestOf(kKnownSession);
  const auto commitment = SeedCommitment(sid, 3, 5, Counting(0, 32));
  const Bytes message = Hex("62" + std::string(kKnownSession) + "00000003" + "0000000000000005" +
                            HexOf(Counting(0, 32)));

  EXPECT_EQ(commitment, crypto::Sha256(message));
  EXPECT_NE(commitment, SeedCommitment(sid, 4, 5, Counting(0, 32)));
  EXPECT_NE(commitment, SeedCommitment(sid, 3, 6, Counting(0, 32)));
  EXPECT_NE(commitment, SeedCommitment(sid, 3, 5, Counting(1, 32)));
}

}  // namespace
}  // namespace chorale::secagg
