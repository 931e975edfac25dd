#include "core/crypto/signature.h"

#include <gtest/gtest.h>

#include <string>

#include "core/bytes.h"
#include "tests/core/crypto/hex.h"

namespace chorale::crypto {
namespace {

constexpr std::string_view kDomain = "chorale/v1/test";
// RFC 8032, section 7.1, tests 1 to 3.
constexpr std::string_view kSeed =
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

SigningKey TestKey() { return *SigningKey::FromSeed(Hex(kSeed)); }

TEST(SigningKeyTest, DerivesThePublicKeysOfRfc8032) {
  const auto public_key = [](std::string_view seed) {
    return ToHex(SigningKey::FromSeed(Hex(seed))->public_key());
  };

  EXPECT_EQ(public_key(kSeed), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  EXPECT_EQ(public_key("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  EXPECT_EQ(public_key("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"),
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
}

// Computed with another implementation over "chorale/v1/test" || 0x00 || message.
TEST(SigningKeyTest, SignsDomainZeroMessage) {
  EXPECT_EQ(ToHex(TestKey().Sign(kDomain, AsBytes("abc"))),
            "e1d1936f297bc58afeff6314dfee44b34c410e2a1bc50f2437d81f4c0ac44f5b"
            "1db2f4eba977b586bec8998853c1ca33929e3052c0e9c14c2365d2ce7b558308");
  EXPECT_EQ(ToHex(TestKey().Sign(kDomain, {})),
            "47ec6bc4df3c7e27a8868eefa1ce1638e0cecc83edf28f596031742b58dd4cdc"
            "b98a07da94885d1d38d96d572faebfb0f6058d4e203731f43f11e0875c03a004");
}

TEST(SigningKeyTest, ComesBackFromItsSeed) {
  const SigningKey key = SigningKey::Generate();

  const StatusOr<SigningKey> again = SigningKey::FromSeed(key.seed().Reveal());

  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->public_key(), key.public_key());
}

TEST(SigningKeyTest, IsDifferentEveryTime) {
  EXPECT_NE(SigningKey::Generate().public_key(), SigningKey::Generate().public_key());
}

TEST(SigningKeyTest, RefusesASeedOfAnotherSize) {
  EXPECT_EQ(SigningKey::FromSeed(Bytes(31)).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(SigningKey::FromSeed(Bytes(64)).status()),
            "an Ed25519 seed has 32 bytes, got 64");
}

TEST(VerifySignatureTest, AcceptsWhatTheKeySigned) {
  const SigningKey key = SigningKey::Generate();
  const Signature signature = key.Sign(kDomain, AsBytes("abc"));

  EXPECT_TRUE(VerifySignature(key.public_key(), kDomain, AsBytes("abc"), signature).ok());
}

TEST(VerifySignatureTest, RefusesAnotherMessageDomainOrKey) {
  const SigningKey key = TestKey();
  const Signature signature = key.Sign(kDomain, AsBytes("abc"));
  const auto code = [&](const SigningPublicKey& k, std::string_view domain,
                        std::string_view message) {
    return VerifySignature(k, domain, AsBytes(message), signature).code();
  };

  EXPECT_EQ(code(key.public_key(), kDomain, "abd"), StatusCode::kPermissionDenied);
  EXPECT_EQ(code(key.public_key(), "chorale/v1/other", "abc"), StatusCode::kPermissionDenied);
  EXPECT_EQ(code(SigningKey::Generate().public_key(), kDomain, "abc"),
            StatusCode::kPermissionDenied);
}

TEST(VerifySignatureTest, RefusesWhenBytesMoveBetweenDomainAndMessage) {
  const SigningKey key = TestKey();
  const Signature signature = key.Sign("chorale/v1/a", AsBytes("bc"));

  EXPECT_EQ(VerifySignature(key.public_key(), "chorale/v1/ab", AsBytes("c"), signature).code(),
            StatusCode::kPermissionDenied);
}

TEST(VerifySignatureTest, RefusesEveryFlippedBit) {
  const SigningKey key = TestKey();
  const Signature signature = key.Sign(kDomain, AsBytes("abc"));
  for (std::size_t bit = 0; bit < 8 * signature.size(); ++bit) {
    Signature changed = signature;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));

    EXPECT_EQ(VerifySignature(key.public_key(), kDomain, AsBytes("abc"), changed).code(),
              StatusCode::kPermissionDenied)
        << bit;
  }
}

TEST(VerifySignatureTest, RefusesAWrongLength) {
  const SigningKey key = TestKey();
  const Status status = VerifySignature(key.public_key(), kDomain, AsBytes("abc"), Bytes(63));

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(status), "an Ed25519 signature has 64 bytes, got 63");
}

// With the neutral element as key, R = S * B fits every message: here S = 0 and R neutral.
TEST(VerifySignatureTest, RefusesKeysUnderWhichOneSignatureFitsEverything) {
  Bytes signature(64);
  signature[0] = 1;
  for (const std::string_view key :
       {"0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"}) {
    const Status status =
        VerifySignature(HexArray<32>(key), kDomain, AsBytes("anything"), signature);

    EXPECT_EQ(status.code(), StatusCode::kPermissionDenied) << key;
    EXPECT_EQ(MessageOf(status), "the signing key is of low order: any message would fit it")
        << key;
  }
}

TEST(VerifySignatureTest, RefusesAKeyThatIsNoPoint) {
  const SigningPublicKey no_point =
      HexArray<32>("0200000000000000000000000000000000000000000000000000000000000000");

  EXPECT_EQ(VerifySignature(no_point, kDomain, {}, Bytes(64)).code(),
            StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace chorale::crypto
