#include "secagg/shamir.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <numeric>

#include "secagg/prime_field.h"
#include "secagg/refusal.h"
#include "tests/secagg/known_answers.h"

namespace chorale::secagg {
namespace {

using prime_field::kPrime;
using prime_field::Uint128;
using Coefficients = std::array<std::uint64_t, kShareLimbs>;  // Of one power, for each limb.

// Says the given words and then zeroes.
class ScriptedRandom final : public RandomSource {
 public:
  explicit ScriptedRandom(std::vector<std::uint64_t> words) : words_(words.begin(), words.end()) {}
  void Fill(std::span<std::uint8_t> bytes) override {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (i % 8 == 0) Next();
      bytes[i] = static_cast<std::uint8_t>(word_ >> (8 * (i % 8)));
    }
  }

 private:
  void Next() {
    word_ = words_.empty() ? 0 : words_.front();
    if (!words_.empty()) words_.pop_front();
  }
  std::deque<std::uint64_t> words_;
  std::uint64_t word_ = 0;
};

ScriptedRandom Saying(const std::vector<Coefficients>& coefficients) {
  std::vector<std::uint64_t> words;
  for (std::size_t l = 0; l < kShareLimbs; ++l) {
    for (const Coefficients& row : coefficients) words.push_back(row[l]);
  }
  return ScriptedRandom(words);
}

std::vector<ShareIndex> Indices(std::uint32_t count) {
  std::vector<ShareIndex> xs(count);
  std::iota(xs.begin(), xs.end(), 1u);
  return xs;
}

crypto::SecretBytes RandomSecret(RandomSource& random) {
  crypto::SecretBytes secret(32);
  random.Fill(secret.MutableReveal());
  return secret;
}

StatusOr<crypto::SecretBytes> CombineSome(const std::vector<SecretShare>& shares,
                                          const std::vector<ShareIndex>& xs,
                                          const std::vector<std::size_t>& chosen) {
  std::vector<ShareIndex> holders;
  std::vector<const SecretShare*> held;
  for (const std::size_t i : chosen) {
    holders.push_back(xs[i]);
    held.push_back(&shares[i]);
  }
  CHORALE_ASSIGN_OR_RETURN(const ShareCombiner combiner, ShareCombiner::Create(holders));
  return combiner.Combine(held);
}

std::string HexOf(const SecretShare& share) {
  Bytes bytes(kShareBytes);
  EncodeShare(share, std::span<std::uint8_t, kShareBytes>(bytes));
  return ToHex(bytes);
}

TEST(PrimeFieldTest, MatchesDivision) {
  SeededRandom random(1);
  std::vector<std::uint64_t> numbers = {0, 1, 2, 3, kPrime - 1, kPrime - 2, kPrime / 2};
  while (numbers.size() < 300) numbers.push_back(random.NextBelow(kPrime));
  for (const std::uint64_t a : numbers) {
    for (const std::uint64_t b : numbers) {
      EXPECT_EQ(prime_field::Multiply(a, b),
                static_cast<std::uint64_t>(static_cast<Uint128>(a) * b % kPrime));
      EXPECT_EQ(prime_field::Subtract(a, b), (a + (kPrime - b)) % kPrime);
    }
    if (a == 0) continue;
    EXPECT_EQ(prime_field::Multiply(a, prime_field::Invert(a)), 1u);
  }
}

TEST(PrimeFieldTest, ReducesEverySumOf128Bits) {
  SeededRandom random(2);
  std::vector<std::uint64_t> words = {0,          1,          kPrime - 1,       kPrime,
                                      kPrime + 1, 2 * kPrime, ~std::uint64_t{0}};
  while (words.size() < 300) words.push_back(random.NextUint64());
  for (const std::uint64_t high : words) {
    for (const std::uint64_t low : words) {
      const Uint128 value = static_cast<Uint128>(high) << 64 | low;
      EXPECT_EQ(prime_field::Reduce(value), static_cast<std::uint64_t>(value % kPrime));
    }
  }
  // As many products of the largest numbers as are ever added up.
  Uint128 sum = kPrime - 1;
  for (int i = 0; i < prime_field::kMaxProducts; ++i) {
    const Uint128 before = sum;
    sum += static_cast<Uint128>(kPrime - 1) * (kPrime - 1);
    ASSERT_GT(sum, before);
  }
  EXPECT_EQ(prime_field::Reduce(sum), static_cast<std::uint64_t>(sum % kPrime));
}

TEST(ShareSecretTest, GivesTheKnownShares) {
  // Coefficient j of limb l is SHA-256("kat" || l || j), as a little-endian number, modulo p.
  std::vector<Coefficients> coefficients(2);
  for (std::uint8_t j = 1; j <= 2; ++j) {
    for (std::uint8_t l = 0; l < kShareLimbs; ++l) {
      const Bytes message = {'k', 'a', 't', l, j};
      const crypto::Digest digest = crypto::Sha256(message);
      std::uint64_t word = 0;
      for (int i = 7; i >= 0; --i) word = word << 8 | digest[i];
      coefficients[j - 1][l] = word % kPrime;
    }
  }
  ScriptedRandom random = Saying(coefficients);

  const auto shares = ShareSecret(Counting(0, 32), 3, Indices(5), random);

  ASSERT_TRUE(shares.ok());
  const std::uint64_t expected[5][5] = {{0x1afe692756feab4b, 0x0f127db5a38e72fb, 0x1af55c93f1d8cabc,
                                         0x02f4db8348177757, 0x173b62b3c221b497},
                                        {0x04f19136f610f1d3, 0x1eb41d1b43d53b97, 0x06fd9199c96c5d44,
                                         0x0284cb77d91cf867, 0x1ddb2fbc98bb6d37},
                                        {0x1ddf7d32e038d495, 0x0ee59ee18164da45, 0x041bb12296c9c5a3,
                                         0x1eb1615f2471d470, 0x13df8638a0e944fa},
                                        {0x05c82d1b15765394, 0x1fa703085c3d4f03, 0x124fbb2e59f103d9,
                                         0x177a9d392a160b74, 0x19486627daab3bdf},
                                        {0x1caba0ef95c96ecd, 0x10f8498fd45e99d3, 0x1199afbd12e217e7,
                                         0x0ce07f05ea099d72, 0x0e15cf8a460151e7}};
  for (std::size_t i = 0; i < 5; ++i) {
    for (std::size_t l = 0; l < kShareLimbs; ++l) {
      EXPECT_EQ((*shares)[i].Reveal()[l], expected[i][l]) << i << " " << l;
    }
  }
}

TEST(ShareSecretTest, DrawsAgainWhatIsNoCoefficient) {
  // The mask leaves 61 bits; all ones is p itself.
  std::vector<std::uint64_t> words = {~std::uint64_t{0}, 1, 2, 3, 4, kPrime, 5};
  ScriptedRandom random(words);

  const auto shares = ShareSecret(crypto::SecretBytes(32), 2, Indices(2), random);

  ASSERT_TRUE(shares.ok());
  EXPECT_EQ((*shares)[0].Reveal(), (SecretShare::Limbs{5, 1, 2, 3, 4}));
}

TEST(ShareSecretTest, RefusesWhatCannotBeShared) {
  SeededRandom random(1);
  const auto code = [&](std::size_t size, std::uint32_t threshold, std::vector<ShareIndex> xs) {
    return ShareSecret(crypto::SecretBytes(size), threshold, xs, random).status().code();
  };

  EXPECT_EQ(code(32, 2, {1, 2}), StatusCode::kOk);
  EXPECT_EQ(code(31, 2, {1, 2}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(32, 0, {1, 2}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(32, 3, {1, 2}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(32, 1, {}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(32, 2, {0, 2}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(32, 2, {7, 2, 7}), StatusCode::kInvalidArgument);
}

TEST(ShareCombinerTest, RecoversTheSecretFromAnyThresholdInAnyOrder) {
  SeededRandom random(3);
  for (const std::uint32_t count : {1u, 2u, 3u, 5u, 12u, 64u, 200u}) {
    for (const std::uint32_t threshold : {1u, count / 2 + 1, count}) {
      std::vector<ShareIndex> xs = Indices(count);
      for (ShareIndex& x : xs) x *= 5;  // Indices need not be dense.
      const crypto::SecretBytes secret = RandomSecret(random);
      const auto shares = ShareSecret(secret, threshold, xs, random);
      ASSERT_TRUE(shares.ok());
      std::vector<std::size_t> order(count);
      std::iota(order.begin(), order.end(), 0u);
      for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.NextBelow(i)]);
      for (const std::size_t size : {std::size_t{threshold}, std::size_t{count}}) {
        const auto combined = CombineSome(
            *shares, xs, {order.begin(), order.begin() + static_cast<std::ptrdiff_t>(size)});

        ASSERT_TRUE(combined.ok()) << combined.status();
        EXPECT_EQ(ToHex(combined->Reveal()), ToHex(secret.Reveal()));
      }
    }
  }
}

TEST(ShareCombinerTest, KeepsTheSmallestAndTheLargestSecret) {
  SeededRandom random(4);
  for (const std::uint8_t byte : {std::uint8_t{0}, std::uint8_t{0xff}}) {
    const Bytes secret(32, byte);
    const auto shares = ShareSecret(crypto::SecretBytes(secret), 3, Indices(4), random);

    EXPECT_EQ(ToHex(CombineSome(*shares, Indices(4), {3, 0, 1})->Reveal()), ToHex(secret));
  }
}

// Two shares of three fit every secret: adding d (1 - x/x1) (1 - x/x2) to a polynomial changes its
// value at zero by d and at x1 and x2 not at all.
TEST(ShareSecretTest, TellsNothingByFewerSharesThanTheThreshold) {
  SeededRandom random(5);
  const std::vector<ShareIndex> xs = {4, 9};
  const std::uint64_t sum = (prime_field::Invert(4) + prime_field::Invert(9)) % kPrime;
  const std::uint64_t product = prime_field::Invert(36);
  std::vector<Coefficients> coefficients(2);
  for (Coefficients& row : coefficients) {
    for (std::uint64_t& number : row) number = random.NextBelow(kPrime);
  }
  ScriptedRandom script = Saying(coefficients);
  const std::vector<ShareIndex> all = {4, 9, 2};
  const auto shares = ShareSecret(crypto::SecretBytes(32), 3, all, script);
  for (int candidate = 0; candidate < 100; ++candidate) {
    const crypto::SecretBytes other = RandomSecret(random);
    // The other secret's limbs, as the shares of a constant polynomial.
    SeededRandom unused(0);
    const auto constant = ShareSecret(other, 1, Indices(1), unused);
    std::vector<Coefficients> fitting = coefficients;
    for (std::size_t l = 0; l < kShareLimbs; ++l) {
      const std::uint64_t d = (*constant)[0].Reveal()[l];
      fitting[0][l] = prime_field::Subtract(fitting[0][l], prime_field::Multiply(d, sum));
      fitting[1][l] = (fitting[1][l] + prime_field::Multiply(d, product)) % kPrime;
    }
    ScriptedRandom same = Saying(fitting);

    const auto others = ShareSecret(other, 3, all, same);

    EXPECT_EQ(HexOf((*others)[0]), HexOf((*shares)[0]));
    EXPECT_EQ(HexOf((*others)[1]), HexOf((*shares)[1]));
    EXPECT_NE(HexOf((*others)[2]), HexOf((*shares)[2]));
  }
}

TEST(ShareCombinerTest, GivesAnotherSecretForAWrongShareOrRefuses) {
  SeededRandom random(6);
  const crypto::SecretBytes secret = RandomSecret(random);
  auto shares = ShareSecret(secret, 3, Indices(5), random);
  // The coefficients of holders 1, 2 and 3 are 3, -3 and 1: one more makes a limb smaller by three.
  (*shares)[1].MutableReveal()[0] ^= 1;

  const auto unnoticed = CombineSome(*shares, Indices(5), {0, 1, 2});

  ASSERT_TRUE(unnoticed.ok());
  EXPECT_NE(ToHex(unnoticed->Reveal()), ToHex(secret.Reveal()));
  (*shares)[1].MutableReveal()[0] ^= std::uint64_t{1} << 59;
  EXPECT_EQ(RefusalOf(CombineSome(*shares, Indices(5), {0, 1, 2}).status()),
            RefusalCode::kShareInvalid);
  EXPECT_EQ(ToHex(CombineSome(*shares, Indices(5), {0, 3, 2})->Reveal()), ToHex(secret.Reveal()));
}

TEST(ShareCombinerTest, RefusesASecretOfMoreThan32Bytes) {
  // The last limb has 48 bits: 2^48 as the share of a constant.
  std::vector<SecretShare> shares(1);
  shares[0].MutableReveal() = {1, 2, 3, 4, std::uint64_t{1} << 48};
  EXPECT_EQ(RefusalOf(CombineSome(shares, {1}, {0}).status()), RefusalCode::kShareInvalid);

  shares[0].MutableReveal()[4] -= 1;
  EXPECT_TRUE(CombineSome(shares, {1}, {0}).ok());
  shares[0].MutableReveal()[0] = std::uint64_t{1} << 52;
  EXPECT_EQ(RefusalOf(CombineSome(shares, {1}, {0}).status()), RefusalCode::kShareInvalid);
  shares[0].MutableReveal()[0] = kPrime;  // Zero, written otherwise.
  EXPECT_EQ(RefusalOf(CombineSome(shares, {1}, {0}).status()), RefusalCode::kShareInvalid);
}

TEST(ShareCombinerTest, RefusesHoldersThatAreNoSetAndAnotherNumberOfShares) {
  const auto create = [](std::vector<ShareIndex> xs) {
    return ShareCombiner::Create(xs).status().code();
  };
  EXPECT_EQ(create({}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({0, 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({2, 1, 2}), StatusCode::kInvalidArgument);

  const SecretShare share;
  const std::vector<const SecretShare*> shares = {&share, &share};
  EXPECT_EQ(ShareCombiner::Create(Indices(3))->Combine(shares).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(SecretShareTest, TravelsAsFiveLittleEndianLimbs) {
  SecretShare share;
  share.MutableReveal() = {1, 0x0102030405060708, 0, kPrime - 1, 5};

  EXPECT_EQ(HexOf(share),
            "01000000000000000807060504030201"
            "0000000000000000feffffffffffff1f0500000000000000");
  EXPECT_EQ(DecodeShare(Hex(HexOf(share)))->Reveal(), share.Reveal());
}

TEST(SecretShareTest, RefusesLimbsOutsideTheFieldAndOtherSizes) {
  Bytes bytes(kShareBytes);
  for (std::size_t limb = 0; limb < kShareLimbs; ++limb) {
    Bytes bad = bytes;
    std::fill_n(bad.begin() + static_cast<std::ptrdiff_t>(8 * limb), 7, std::uint8_t{0xff});
    bad[8 * limb + 7] = 0x1f;  // p.
    EXPECT_EQ(RefusalOf(DecodeShare(bad).status()), RefusalCode::kShareInvalid);
    bad[8 * limb] = 0xfe;
    EXPECT_TRUE(DecodeShare(bad).ok());
  }
  for (const std::size_t size : {0u, 39u, 41u}) {
    EXPECT_EQ(DecodeShare(Bytes(size)).status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(SecretShareTest, LeavesNothingBehindWhenMoved) {
  SecretShare from;
  from.MutableReveal()[2] = 7;

  SecretShare to = std::move(from);

  EXPECT_EQ(to.Reveal()[2], 7u);
  EXPECT_EQ(from.Reveal(), SecretShare::Limbs{});  // NOLINT: what is left is the point.
  static_assert(!std::is_copy_constructible_v<SecretShare>);
}

}  // namespace
}  // namespace chorale::secagg
