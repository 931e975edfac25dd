#include "core/crypto/key_agreement.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/random.h"
#include "tests/core/crypto/hex.h"
#include "tests/core/crypto/x25519_points.h"

namespace chorale::crypto {
namespace {

// RFC 7748, section 6.1.
constexpr std::string_view kAlice =
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
constexpr std::string_view kBob =
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
constexpr std::string_view kShared =
    "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";

X25519PrivateKey PrivateKey(std::string_view hex) { return *X25519PrivateKey::FromBytes(Hex(hex)); }

TEST(X25519Test, MatchesTheExchangeOfRfc7748) {
  const X25519PrivateKey alice = PrivateKey(kAlice);
  const X25519PrivateKey bob = PrivateKey(kBob);

  EXPECT_EQ(ToHex(alice.public_key()),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  EXPECT_EQ(ToHex(bob.public_key()),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  EXPECT_EQ(ToHex(alice.Agree(bob.public_key())->Reveal()), kShared);
  EXPECT_EQ(ToHex(bob.Agree(alice.public_key())->Reveal()), kShared);
}

// RFC 7748, section 5.2: k, u = X25519(k, u), k; after 1 and after 1000 times.
TEST(X25519Test, MatchesTheIteratedVectors) {
  Bytes k = Hex("0900000000000000000000000000000000000000000000000000000000000000");
  Bytes u = k;
  for (int i = 1; i <= 1000; ++i) {
    X25519PublicKey point;
    std::copy(u.begin(), u.end(), point.begin());
    const SecretBytes next = *X25519PrivateKey::FromBytes(k)->Agree(point);
    u = k;
    k.assign(next.Reveal().begin(), next.Reveal().end());
    if (i == 1) {
      ASSERT_EQ(ToHex(k), "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
  }

  EXPECT_EQ(ToHex(k), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

TEST(X25519Test, RefusesEveryPointOfLowOrder) {
  const X25519PrivateKey key = X25519PrivateKey::Generate();
  for (const X25519PublicKey& point : LowOrderPoints()) {
    EXPECT_EQ(key.Agree(point).status().code(), StatusCode::kInvalidArgument) << ToHex(point);
    for (const auto& shared : key.AgreeAll(std::vector(9, point))) {
      EXPECT_EQ(shared.status().code(), StatusCode::kInvalidArgument) << ToHex(point);
    }
  }
}

// Groups of up to two agree by OpenSSL, larger ones by the processor's lanes where it has them.
TEST(X25519Test, AgreesWithManyAsWithEach) {
  SeededRandom random(1);
  for (std::size_t num_peers = 0; num_peers <= 40; ++num_peers) {
    Bytes key_bytes(32);
    random.Fill(key_bytes);
    const X25519PrivateKey key = *X25519PrivateKey::FromBytes(key_bytes);
    std::vector<X25519PublicKey> peers(num_peers);
    for (X25519PublicKey& peer : peers) {
      if (random.NextBelow(2) == 0) {
        peer = EdgePoint(random);
      } else {
        random.Fill(peer);
      }
    }

    const std::vector<StatusOr<SecretBytes>> all = key.AgreeAll(peers);

    ASSERT_EQ(all.size(), num_peers);
    for (std::size_t i = 0; i < num_peers; ++i) {
      const StatusOr<SecretBytes> one = key.Agree(peers[i]);
      ASSERT_EQ(all[i].status(), one.status()) << ToHex(peers[i]);
      if (!one.ok()) continue;
      ASSERT_EQ(ToHex(all[i]->Reveal()), ToHex(one->Reveal())) << ToHex(peers[i]);
    }
  }
}

// A third honest, the others as somebody might choose them to do harm.
X25519PublicKey AnyPublicKey(RandomSource& random) {
  switch (random.NextBelow(6)) {
    case 0:
      return EdgePoint(random);
    case 1: {
      const std::vector<X25519PublicKey> points = LowOrderPoints();
      return points[random.NextBelow(points.size())];
    }
    case 2:
    case 3: {
      X25519PublicKey point;  // Half of these are on the twist.
      random.Fill(point);
      return point;
    }
    default: {
      Bytes bytes(32);
      random.Fill(bytes);
      return X25519PrivateKey::FromBytes(bytes)->public_key();
    }
  }
}

// From no pair to all of them: some groups of eight peers are worth a table and others are not.
TEST(X25519Test, AgreesForDisclosedKeysAsForEachAlone) {
  SeededRandom random(2);
  for (const std::size_t num_keys : {0, 1, 3, 4, 5, 30, 70}) {
    for (const std::uint64_t percent : {0, 10, 40, 100}) {
      const std::size_t num_peers = random.NextBelow(30);
      std::vector<X25519PublicKey> public_keys(num_peers);
      for (X25519PublicKey& peer : public_keys) peer = AnyPublicKey(random);
      std::vector<X25519PrivateKey> keys;
      for (std::size_t i = 0; i < num_keys; ++i) {
        Bytes bytes(32);
        random.Fill(bytes);
        keys.push_back(*X25519PrivateKey::FromBytes(bytes));
      }
      std::vector<DisclosedKey> disclosed;
      for (const X25519PrivateKey& key : keys) {
        DisclosedKey& one = disclosed.emplace_back();
        one.key = &key;
        for (std::size_t peer = num_peers; peer-- > 0;) {
          if (random.NextBelow(100) < percent) one.peers.push_back(peer);
        }
      }

      const auto all = AgreeDisclosed(disclosed, public_keys);

      ASSERT_EQ(all.size(), num_keys);
      for (std::size_t i = 0; i < num_keys; ++i) {
        ASSERT_EQ(all[i].size(), disclosed[i].peers.size());
        for (std::size_t j = 0; j < all[i].size(); ++j) {
          const X25519PublicKey& peer = public_keys[disclosed[i].peers[j]];
          const StatusOr<SecretBytes> one = keys[i].Agree(peer);
          ASSERT_EQ(all[i][j].status(), one.status()) << ToHex(peer);
          if (!one.ok()) continue;
          ASSERT_EQ(ToHex(all[i][j]->Reveal()), ToHex(one->Reveal())) << ToHex(peer);
        }
      }
    }
  }
}

TEST(X25519Test, AgreesForFreshKeys) {
  const X25519PrivateKey a = X25519PrivateKey::Generate();
  const X25519PrivateKey b = X25519PrivateKey::Generate();

  EXPECT_EQ(ToHex(a.Agree(b.public_key())->Reveal()), ToHex(b.Agree(a.public_key())->Reveal()));
  EXPECT_NE(a.public_key(), b.public_key());
}

TEST(X25519Test, AgreesAfterAMove) {
  X25519PrivateKey first = X25519PrivateKey::Generate();
  const X25519PrivateKey peer = X25519PrivateKey::Generate();
  const auto expected = peer.Agree(first.public_key());

  const X25519PrivateKey second = std::move(first);

  EXPECT_EQ(ToHex(second.Agree(peer.public_key())->Reveal()), ToHex(expected->Reveal()));
}

TEST(X25519Test, ComesBackFromItsBytes) {
  const X25519PrivateKey key = X25519PrivateKey::Generate();

  EXPECT_EQ(X25519PrivateKey::FromBytes(key.bytes().Reveal())->public_key(), key.public_key());
}

TEST(X25519Test, RefusesAPrivateKeyOfAnotherSize) {
  EXPECT_EQ(MessageOf(X25519PrivateKey::FromBytes(Bytes(33)).status()),
            "an X25519 private key has 32 bytes, got 33");
}

// RFC 5869, appendix A, tests 1 to 3.
TEST(HkdfTest, MatchesRfc5869) {
  const auto hkdf = [](const Bytes& salt, const Bytes& key, const Bytes& info, std::size_t size) {
    return ToHex(Hkdf(salt, key, info, size).Reveal());
  };

  EXPECT_EQ(hkdf(Counting(0x00, 13), Bytes(22, 0x0b), Counting(0xf0, 10), 42),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  EXPECT_EQ(
      hkdf(Counting(0x60, 80), Counting(0x00, 80), Counting(0xb0, 80), 82),
      "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e"
      "590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
  EXPECT_EQ(hkdf({}, Bytes(22, 0x0b), {}, 42),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST(HkdfTest, ExpandsThePseudorandomKeyOfRfc5869) {
  const Bytes prk = Hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");

  EXPECT_EQ(ToHex(HmacSha256(Counting(0x00, 13), Bytes(22, 0x0b))), ToHex(prk));
  EXPECT_EQ(ToHex(HkdfExpand(prk, Counting(0xf0, 10), 42).Reveal()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}

TEST(HkdfTest, GivesFromNothingUpToTheLargestOutput) {
  const Bytes key(32, 0x01);

  EXPECT_EQ(Hkdf({}, key, {}, 0).size(), 0u);
  const SecretBytes largest = Hkdf({}, key, {}, 255 * 32);
  const SecretBytes shorter = Hkdf({}, key, {}, 33);
  EXPECT_EQ(ToHex(largest.Reveal().first(33)), ToHex(shorter.Reveal()));
}

// Pair key of the secure-aggregation known answers: r = 5, lo = 3 (Alice), hi = 7 (Bob).
TEST(HkdfTest, MatchesTheKnownPairKey) {
  const X25519PrivateKey alice = PrivateKey(kAlice);
  const X25519PrivateKey bob = PrivateKey(kBob);
  const Bytes session = Hex("1902639e7f8390e1709a3fc9402d96b33b3ed9c2b752478aa624934a08990cf2");
  Bytes info(AsBytes("fl-secagg/v1 pair").begin(), AsBytes("fl-secagg/v1 pair").end());
  const Bytes ids = Hex("00000000000000050000000300000007");
  info.insert(info.end(), ids.begin(), ids.end());
  info.insert(info.end(), alice.public_key().begin(), alice.public_key().end());
  info.insert(info.end(), bob.public_key().begin(), bob.public_key().end());

  const SecretBytes shared = *alice.Agree(bob.public_key());

  EXPECT_EQ(ToHex(Hkdf(session, shared.Reveal(), info, 32).Reveal()),
            "b0771b54c6722a3565c9e9ca6c8b9352a266f25db48bcbf67d8823a033432e0c");
}

// Mask key and self-mask key of the same known answers.
TEST(HkdfTest, MatchesTheKnownMaskKeys) {
  const auto info = [](std::string_view label) {
    Bytes bytes(AsBytes(label).begin(), AsBytes(label).end());
    const Bytes context = Hex("62020e2e2d52ff3969a1f1e91200ae96ec0763628f517640696aacc8c60cc95b");
    bytes.insert(bytes.end(), context.begin(), context.end());
    return bytes;
  };
  const Bytes pair_key = Hex("b0771b54c6722a3565c9e9ca6c8b9352a266f25db48bcbf67d8823a033432e0c");

  EXPECT_EQ(ToHex(HkdfExpand(pair_key, info("fl-secagg/v1 mask"), 16).Reveal()),
            "6f4bae387e2fdbb8fb016f740111c63e");
  EXPECT_EQ(ToHex(HkdfExpand(Counting(0x00, 32), info("fl-secagg/v1 self"), 16).Reveal()),
            "7cb69a76fffa94f9233f9047e9d6bc5b");
}

}  // namespace
}  // namespace chorale::crypto
