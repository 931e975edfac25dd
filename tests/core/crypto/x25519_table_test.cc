#include "core/crypto/x25519_table.h"

#include <gtest/gtest.h>
#include <openssl/bn.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/key_agreement.h"
#include "core/random.h"
#include "tests/core/crypto/hex.h"
#include "tests/core/crypto/x25519_points.h"

namespace chorale::crypto {
namespace {

using Points = std::array<X25519PublicKey, kX25519Lanes>;
using Key = std::array<std::uint8_t, 32>;

class X25519TableTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasX25519Lanes()) GTEST_SKIP() << "the processor has no AVX-512 IFMA";
  }

  Key AnyKey() {
    Key key;
    random_.Fill(key);
    return key;
  }
  X25519PublicKey AnyPoint() { return AnyKey(); }
  X25519PublicKey HonestPoint() { return X25519PrivateKey::FromBytes(AnyKey())->public_key(); }
  Points HonestPoints() {
    Points points;
    std::ranges::generate(points, [&] { return HonestPoint(); });
    return points;
  }

  SeededRandom random_{1};
};

// Whether v^2 = u^3 + 486662 u^2 + u has a solution v that is not zero, by Euler's criterion.
bool HasRoot(X25519PublicKey u) {
  struct Free {
    void operator()(BIGNUM* n) const { BN_free(n); }
    void operator()(BN_CTX* n) const { BN_CTX_free(n); }
  };
  using Number = std::unique_ptr<BIGNUM, Free>;
  const std::unique_ptr<BN_CTX, Free> context(BN_CTX_new());
  const Number p(BN_new()), x(BN_new()), square(BN_new());
  BN_set_bit(p.get(), 255);
  BN_sub_word(p.get(), 19);
  u[31] &= 0x7f;
  BN_lebin2bn(u.data(), u.size(), x.get());
  BN_copy(square.get(), x.get());
  BN_add_word(square.get(), 486662);
  BN_mod_mul(square.get(), square.get(), x.get(), p.get(), context.get());
  BN_add_word(square.get(), 1);
  BN_mod_mul(square.get(), square.get(), x.get(), p.get(), context.get());
  const Number exponent(BN_dup(p.get()));
  BN_rshift1(exponent.get(), exponent.get());
  BN_mod_exp(square.get(), square.get(), exponent.get(), p.get(), context.get());
  return BN_is_one(square.get()) == 1;
}

std::vector<X25519Table::Shared> MultiplyAll(const X25519Table& table,
                                             const std::vector<Key>& keys) {
  const std::vector<ByteSpan> spans(keys.begin(), keys.end());
  std::vector<X25519Table::Shared> shared(keys.size());
  table.MultiplyDisclosed(spans, shared);
  return shared;
}

// On the curve, what OpenSSL says; else nothing.
void ExpectAnswersOfOpenSsl(const Points& points, const std::vector<Key>& keys) {
  const X25519Table table(points);
  const std::vector<X25519Table::Shared> shared = MultiplyAll(table, keys);
  for (std::size_t lane = 0; lane < kX25519Lanes; ++lane) {
    ASSERT_EQ(table.on_curve()[lane], HasRoot(points[lane])) << ToHex(points[lane]);
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const X25519PrivateKey key = *X25519PrivateKey::FromBytes(keys[i]);
    for (std::size_t lane = 0; lane < kX25519Lanes; ++lane) {
      const StatusOr<SecretBytes> one = key.Agree(points[lane]);
      const bool is_zero = !table.on_curve()[lane] || !one.ok();
      ASSERT_EQ(ToHex(shared[i][lane]), is_zero ? std::string(64, '0') : ToHex(one->Reveal()))
          << ToHex(keys[i]) << " with " << ToHex(points[lane]);
    }
  }
}

TEST_F(X25519TableTest, AgreesWithOpenSslForHonestPoints) {
  for (int i = 0; i < 50; ++i) {
    const Points points = HonestPoints();
    std::vector<Key> keys(10);
    std::ranges::generate(keys, [&] { return AnyKey(); });
    ASSERT_NO_FATAL_FAILURE(ExpectAnswersOfOpenSsl(points, keys));
  }
}

// Half of all points are on the twist, and seven eighths of the rest have a part of low order.
TEST_F(X25519TableTest, AgreesWithOpenSslForAnyPoints) {
  for (int i = 0; i < 50; ++i) {
    Points points;
    std::ranges::generate(points, [&] { return AnyPoint(); });
    std::vector<Key> keys(10);
    std::ranges::generate(keys, [&] { return AnyKey(); });
    ASSERT_NO_FATAL_FAILURE(ExpectAnswersOfOpenSsl(points, keys));
  }
}

// Around 0, p, 2^255 and 2^256.
TEST_F(X25519TableTest, AgreesWithOpenSslForPointsAtTheEdges) {
  for (int byte = 0; byte < 256; byte += 2) {
    Points points;
    for (std::size_t lane = 0; lane < kX25519Lanes; ++lane) {
      points[lane].fill(lane < 4 ? 0x00 : 0xff);
      points[lane][0] = static_cast<std::uint8_t>(byte + lane % 2);
      points[lane][31] = static_cast<std::uint8_t>((lane < 4 ? 0x00 : 0x7f) | lane / 2 % 2 << 7);
    }
    ASSERT_NO_FATAL_FAILURE(ExpectAnswersOfOpenSsl(points, {AnyKey(), AnyKey()}));
  }
}

// Keys of equal bits, of a single one, and of a single zero, in each place; with it those whose
// quotients by 8 are the least, the largest, even and odd.
TEST_F(X25519TableTest, AgreesWithOpenSslForKeysAtTheEdges) {
  std::vector<Key> keys(2);
  keys[0].fill(0x00);
  keys[1].fill(0xff);
  for (std::size_t bit = 0; bit < 256; ++bit) {
    for (const std::size_t background : {0, 1}) {
      Key key = keys[background];
      key[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      keys.push_back(key);
    }
  }
  Points points = HonestPoints();
  std::generate_n(points.begin(), 4, [&] { return AnyPoint(); });

  ExpectAnswersOfOpenSsl(points, keys);
}

TEST_F(X25519TableTest, TakesAnyNumberOfKeys) {
  const Points points = HonestPoints();
  const X25519Table table(points);
  for (const std::size_t num_keys : {0, 1, 2, 63, 64, 65, 128, 129, 200}) {
    std::vector<Key> keys(num_keys);
    std::ranges::generate(keys, [&] { return AnyKey(); });

    const std::vector<X25519Table::Shared> shared = MultiplyAll(table, keys);

    for (std::size_t i = 0; i < num_keys; ++i) {
      const X25519PrivateKey key = *X25519PrivateKey::FromBytes(keys[i]);
      const std::size_t lane = i % kX25519Lanes;
      ASSERT_EQ(ToHex(shared[i][lane]), ToHex(key.Agree(points[lane])->Reveal())) << i;
    }
  }
}

TEST_F(X25519TableTest, GivesZeroForPointsOfLowOrderAndSpoilsNoOtherLane) {
  std::vector<X25519PublicKey> bad = LowOrderPoints();
  for (int i = 0; i < 4; ++i) bad.push_back(EdgePoint(random_));
  while (bad.size() < 15) {
    const X25519PublicKey point = AnyPoint();
    if (!HasRoot(point)) bad.push_back(point);
  }
  for (std::size_t i = 0; i < bad.size(); ++i) {
    for (std::size_t lane = 0; lane < kX25519Lanes; ++lane) {
      Points points = HonestPoints();
      points[lane] = bad[i];
      ASSERT_NO_FATAL_FAILURE(ExpectAnswersOfOpenSsl(points, {AnyKey(), AnyKey()}));
    }
  }
  Points all;
  std::copy_n(bad.begin(), kX25519Lanes, all.begin());
  ExpectAnswersOfOpenSsl(all, {AnyKey(), AnyKey()});
}

}  // namespace
}  // namespace chorale::crypto
