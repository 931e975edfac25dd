#include "core/crypto/digest.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "tests/core/crypto/hex.h"

namespace chorale::crypto {
namespace {

std::string Sha256Hex(std::string_view text) { return ToHex(Sha256(AsBytes(text))); }

// FIPS 180-4 examples.
TEST(Sha256Test, MatchesThePublishedVectors) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256Hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, IsTheSameInEveryThread) {
  const Digest expected = Sha256(AsBytes("abc"));
  std::vector<Digest> digests(4);

  std::vector<std::thread> threads;
  for (Digest& digest : digests) {
    threads.emplace_back([&digest] {
      for (int i = 0; i < 100; ++i) digest = Sha256(AsBytes("abc"));
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (const Digest& digest : digests) EXPECT_EQ(digest, expected);
}

TEST(Sha256HasherTest, OfPiecesEqualsTheDigestOfTheWhole) {
  const Bytes whole = Counting(0, 1000);
  for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{64}, whole.size()}) {
    Sha256Hasher hasher;
    hasher.Update(ByteSpan(whole).first(cut));
    hasher.Update(ByteSpan(whole).subspan(cut));

    EXPECT_EQ(std::move(hasher).Finish(), Sha256(whole)) << cut;
  }
}

TEST(Sha256HasherTest, ContinuesAfterAMove) {
  Sha256Hasher first;
  first.Update(AsBytes("a"));

  Sha256Hasher second = std::move(first);
  second.Update(AsBytes("bc"));

  EXPECT_EQ(std::move(second).Finish(), Sha256(AsBytes("abc")));
}

// RFC 4231, test cases 1 to 4, 6 and 7.
TEST(HmacSha256Test, MatchesRfc4231) {
  const auto hmac = [](const Bytes& key, ByteSpan message) {
    return ToHex(HmacSha256(key, message));
  };

  EXPECT_EQ(hmac(Bytes(20, 0x0b), AsBytes("Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hmac(Hex("4a656665"), AsBytes("what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hmac(Bytes(20, 0xaa), Bytes(50, 0xdd)),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  EXPECT_EQ(hmac(Counting(1, 25), Bytes(50, 0xcd)),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
  EXPECT_EQ(
      hmac(Bytes(131, 0xaa), AsBytes("Test Using Larger Than Block-Size Key - Hash Key First")),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(hmac(Bytes(131, 0xaa),
                 AsBytes("This is a test using a larger than block-size key and a larger than "
                         "block-size data. The key needs to be hashed before being used by the "
                         "HMAC algorithm.")),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

TEST(HmacSha256Test, TakesAnEmptyKeyAndAnEmptyMessage) {
  EXPECT_EQ(ToHex(HmacSha256({}, {})),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(DigestFromBytesTest, TakesExactly32Bytes) {
  const Digest digest = Sha256({});

  EXPECT_EQ(*DigestFromBytes(digest), digest);
  EXPECT_EQ(DigestFromBytes(Bytes(31)).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(DigestFromBytes(Bytes(33)).status()), "a digest has 32 bytes, got 33");
}

// Session id of the secure-aggregation known answers.
TEST(Sha256Test, MatchesTheKnownSessionId) {
  Sha256Hasher hasher;
  hasher.Update(AsBytes("fl-secagg/v1/session"));
  hasher.Update(Bytes(32, 0x00));
  hasher.Update(Bytes(32, 0xff));

  EXPECT_EQ(ToHex(std::move(hasher).Finish()),
            "1902639e7f8390e1709a3fc9402d96b33b3ed9c2b752478aa624934a08990cf2");
}

}  // namespace
}  // namespace chorale::crypto
