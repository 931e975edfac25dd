// The primitives together, without sessions: masks of all pairs and of each member, drop-outs, and
// what is left after unmasking.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>

#include "core/random.h"
#include "secagg/fixed_point.h"
#include "secagg/key_schedule.h"
#include "secagg/mask_stream.h"
#include "secagg/parameters.h"
#include "secagg/shamir.h"
#include "secagg/vector_spec.h"
#include "tests/secagg/known_answers.h"

namespace chorale::secagg {
namespace {

struct Member {
  crypto::X25519PrivateKey mask_key;
  crypto::SecretBytes seed;
  std::vector<SecretShare> key_shares;   // For every member.
  std::vector<SecretShare> seed_shares;  // For every member.
};

// One round of n members: who masks, who drops out, who answers.
class MaskedRound {
 public:
  MaskedRound(std::uint32_t num_members, VectorSpec spec, SeededRandom& random)
      : spec_(std::move(spec)), group_(DefaultGroup(num_members)) {
    std::vector<ShareIndex> xs(num_members);
    std::iota(xs.begin(), xs.end(), 1u);
    for (std::uint32_t i = 0; i < num_members; ++i) {
      Bytes key(32);
      random.Fill(key);
      crypto::SecretBytes seed(32);
      random.Fill(seed.MutableReveal());
      auto mask_key = *crypto::X25519PrivateKey::FromBytes(key);
      auto key_shares = *ShareSecret(mask_key.bytes(), group_.threshold, xs, random);
      auto seed_shares = *ShareSecret(seed, group_.threshold, xs, random);
      members_.push_back(
          {std::move(mask_key), std::move(seed), std::move(key_shares), std::move(seed_shares)});
    }
    binding_ = {Filled(1), 1, Filled(2), Filled(3), Filled(4), Filled(5)};
  }

  // y_i of the member for its encoded vector.
  [[nodiscard]] Bytes Mask(std::uint32_t i, Bytes vector) const {
    std::vector<crypto::SecretBytes> keys;
    std::vector<MaskTerm> terms;
    for (std::uint32_t j = 0; j < members_.size(); ++j) {
      keys.push_back(j == i ? SelfMaskKey(members_[i].seed, ContextOf(binding_), Suite::kAes128Ctr)
                            : MaskKeyOf(members_[i].mask_key, i, j));
    }
    for (std::uint32_t j = 0; j < members_.size(); ++j) terms.push_back({&keys[j], j > i});
    EXPECT_TRUE(ApplyMasks(spec_, 0, vector, terms, 1).ok());
    return vector;
  }

  // Takes the masks off the sum of the survivors' y, from the shares of the first t of them alone.
  void Unmask(const std::vector<bool>& is_lost, Bytes& sum) const {
    std::vector<std::uint32_t> answering;
    std::vector<ShareIndex> xs;
    for (std::uint32_t i = 0; i < members_.size() && xs.size() < group_.threshold; ++i) {
      if (is_lost[i]) continue;
      answering.push_back(i);
      xs.push_back(i + 1);
    }
    const auto combiner = ShareCombiner::Create(xs);
    ASSERT_TRUE(combiner.ok());
    std::vector<crypto::SecretBytes> keys;
    std::vector<bool> is_subtracted;
    for (std::uint32_t j = 0; j < members_.size(); ++j) {
      std::vector<const SecretShare*> shares;
      for (const std::uint32_t i : answering) {
        shares.push_back(is_lost[j] ? &members_[j].key_shares[i] : &members_[j].seed_shares[i]);
      }
      const auto secret = combiner->Combine(shares);
      ASSERT_TRUE(secret.ok()) << secret.status();
      if (!is_lost[j]) {
        keys.push_back(SelfMaskKey(*secret, ContextOf(binding_), Suite::kAes128Ctr));
        is_subtracted.push_back(true);
        continue;
      }
      const auto lost_key = crypto::X25519PrivateKey::FromBytes(secret->Reveal());
      ASSERT_EQ(lost_key->public_key(), members_[j].mask_key.public_key());
      for (std::uint32_t i = 0; i < members_.size(); ++i) {
        if (is_lost[i]) continue;
        keys.push_back(MaskKeyOf(*lost_key, j, i));
        // Survivor i added the mask when j was smaller.
        is_subtracted.push_back(j < i);
      }
    }
    std::vector<MaskTerm> terms;
    for (std::size_t k = 0; k < keys.size(); ++k) terms.push_back({&keys[k], is_subtracted[k]});
    ASSERT_TRUE(ApplyMasks(spec_, 0, sum, terms, 2).ok());
  }

  [[nodiscard]] std::uint32_t num_members() const { return group_.num_members; }
  [[nodiscard]] std::uint32_t most_lost() const { return group_.num_members - group_.threshold; }

 private:
  [[nodiscard]] crypto::SecretBytes MaskKeyOf(const crypto::X25519PrivateKey& own, std::uint32_t i,
                                              std::uint32_t j) const {
    const auto pair =
        PairKey(binding_.session_id, own, i, members_[j].mask_key.public_key(), j, binding_.round);
    EXPECT_TRUE(pair.ok());
    return PairMaskKey(*pair, ContextOf(binding_), Suite::kAes128Ctr);
  }

  VectorSpec spec_;
  GroupParameters group_;
  std::vector<Member> members_;
  RoundBinding binding_;
};

Bytes RandomVector(const VectorSpec& spec, RandomSource& random) {
  Bytes vector(spec.size_bytes());
  random.Fill(vector);
  return vector;
}

Bytes SumOf(const VectorSpec& spec, const std::vector<Bytes>& vectors,
            const std::vector<bool>& is_lost) {
  Bytes sum(spec.size_bytes());
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    if (is_lost[i]) continue;
    EXPECT_TRUE(AddVectors(spec, 0, vectors[i], sum, 1).ok());
  }
  return sum;
}

VectorSpec MixedSpec() {
  return *VectorSpec::Create(
      {{RingBits::k16, 5}, {RingBits::k24, 7}, {RingBits::k32, 11}, {RingBits::k64, 3}});
}

// Every pattern of drop-outs for up to six members, seed 1.
TEST(MaskedSumTest, IsTheSumOfTheSurvivorsForEveryPatternOfDropOuts) {
  SeededRandom random(1);
  for (std::uint32_t n = 3; n <= 6; ++n) {
    const VectorSpec spec = MixedSpec();
    const MaskedRound round(n, spec, random);
    std::vector<Bytes> plain;
    std::vector<Bytes> masked;
    for (std::uint32_t i = 0; i < n; ++i) {
      plain.push_back(RandomVector(spec, random));
      masked.push_back(round.Mask(i, plain.back()));
    }
    for (std::uint32_t pattern = 0; pattern < (1u << n); ++pattern) {
      if (static_cast<std::uint32_t>(std::popcount(pattern)) > round.most_lost()) continue;
      std::vector<bool> is_lost(n);
      for (std::uint32_t i = 0; i < n; ++i) is_lost[i] = (pattern >> i & 1) != 0;
      Bytes sum = SumOf(spec, masked, is_lost);

      round.Unmask(is_lost, sum);

      EXPECT_EQ(sum, SumOf(spec, plain, is_lost)) << n << " members, pattern " << pattern;
    }
  }
}

// Random patterns for up to twelve members and every ring, seed 2.
TEST(MaskedSumTest, IsTheSumOfTheSurvivorsInEveryRing) {
  SeededRandom random(2);
  for (const RingBits bits : {RingBits::k16, RingBits::k24, RingBits::k32, RingBits::k64}) {
    for (std::uint32_t n = 7; n <= 12; ++n) {
      const VectorSpec spec = *VectorSpec::Create({{bits, 1 + random.NextBelow(100)}});
      const MaskedRound round(n, spec, random);
      std::vector<Bytes> plain;
      std::vector<Bytes> masked;
      for (std::uint32_t i = 0; i < n; ++i) {
        plain.push_back(RandomVector(spec, random));
        masked.push_back(round.Mask(i, plain.back()));
      }
      std::vector<bool> is_lost(n);
      for (std::uint32_t left = static_cast<std::uint32_t>(random.NextBelow(round.most_lost() + 1));
           left > 0; --left) {
        is_lost[random.NextBelow(n)] = true;
      }
      Bytes sum = SumOf(spec, masked, is_lost);

      round.Unmask(is_lost, sum);

      EXPECT_EQ(sum, SumOf(spec, plain, is_lost));
    }
  }
}

TEST(MaskedSumTest, StaysMaskedWhenOneMemberMoreDropsOutThanAnnounced) {
  SeededRandom random(3);
  const VectorSpec spec = MixedSpec();
  const MaskedRound round(5, spec, random);
  std::vector<Bytes> plain;
  std::vector<Bytes> masked;
  for (std::uint32_t i = 0; i < 5; ++i) {
    plain.push_back(RandomVector(spec, random));
    masked.push_back(round.Mask(i, plain.back()));
  }
  std::vector<bool> is_lost = {false, true, false, false, false};
  // The coordinator declares member 1 lost, opens its key, and adds its late vector all the same.
  Bytes sum = SumOf(spec, masked, std::vector<bool>(5));

  round.Unmask(is_lost, sum);

  EXPECT_NE(sum, SumOf(spec, plain, std::vector<bool>(5)));
  EXPECT_NE(sum, SumOf(spec, plain, is_lost));
}

// The bytes of one masked vector of 2^18 zeroes, seed 4: chi-square with 255 degrees of freedom
// exceeds 377 with probability 1e-6, and by as much falls below 156.
TEST(MaskedSumTest, LooksUniformByteByByte) {
  SeededRandom random(4);
  for (const RingBits bits : {RingBits::k16, RingBits::k24, RingBits::k32, RingBits::k64}) {
    const VectorSpec spec = *VectorSpec::Create({{bits, (1u << 18) / ElementBytes(bits)}});
    const MaskedRound round(3, spec, random);
    const Bytes masked = round.Mask(1, Bytes(spec.size_bytes()));
    std::array<double, 256> counts{};
    for (const std::uint8_t byte : masked) counts[byte] += 1;
    const double expected = static_cast<double>(masked.size()) / 256;
    double chi_square = 0;
    for (const double count : counts)
      chi_square += (count - expected) * (count - expected) / expected;

    EXPECT_LT(chi_square, 377) << static_cast<int>(bits);
    EXPECT_GT(chi_square, 156) << static_cast<int>(bits);
  }
}

// 65,536 elements, seed 5: the correlation of a masked with a plain vector has standard deviation
// 1/256; it exceeds five of them with probability 6e-7.
TEST(MaskedSumTest, DoesNotCorrelateWithTheInput) {
  SeededRandom random(5);
  constexpr std::size_t kCount = 1u << 16;
  const VectorSpec spec = *VectorSpec::Create({{RingBits::k32, kCount}});
  const FixedPoint fixed = *FixedPoint::Create(RingBits::k32, 1, 3);
  const MaskedRound round(3, spec, random);
  std::vector<double> values(kCount);
  for (double& value : values) value = 2 * random.NextDouble() - 1;
  Bytes vector(spec.size_bytes());
  ASSERT_TRUE(
      fixed.Encode(std::span<const double>(values), Rounding::kStochastic, &random, vector).ok());

  std::vector<double> masked(kCount);
  fixed.Decode(round.Mask(0, vector), masked);

  double products = 0;
  double squares = 0;
  double masked_squares = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    products += values[i] * masked[i];
    squares += values[i] * values[i];
    masked_squares += masked[i] * masked[i];
  }
  EXPECT_LT(std::abs(products / std::sqrt(squares * masked_squares)), 5.0 / 256);
}

}  // namespace
}  // namespace chorale::secagg
