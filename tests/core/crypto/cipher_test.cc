#include "core/crypto/cipher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "core/bytes.h"
#include "tests/core/crypto/hex.h"

namespace chorale::crypto {
namespace {

using Nonce = std::array<std::uint8_t, kAeadNonceBytes>;

AeadKey Aead(std::string_view hex) { return *AeadKey::Create(SecretBytes(Hex(hex))); }
CtrStream Ctr(const Bytes& key) { return *CtrStream::Create(SecretBytes(key)); }

std::string Next(CtrStream& stream, std::size_t size) {
  Bytes out(size, 0xee);
  stream.Generate(out);
  return ToHex(out);
}

// McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13 to 16.
constexpr std::string_view kKey =
    "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
constexpr std::string_view kNonce = "cafebabefacedbaddecaf888";
constexpr std::string_view kPlaintext =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b5"
    "25"
    "b16aedf5aa0de657ba637b39";
constexpr std::string_view kAssociated = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
constexpr std::string_view kSealed =
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10568288"
    "38"
    "c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b";
constexpr std::string_view kZeroKey =
    "0000000000000000000000000000000000000000000000000000000000000000";

TEST(AeadKeyTest, SealsThePublishedVectors) {
  EXPECT_EQ(ToHex(Aead(kZeroKey).Seal({}, {}, {})), "530f8afbc74536b9a963b4f1c4cb738b");
  EXPECT_EQ(ToHex(Aead(kZeroKey).Seal({}, Bytes(16), {})),
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
  EXPECT_EQ(ToHex(Aead(kKey).Seal(HexArray<12>(kNonce), Hex(kPlaintext), Hex(kAssociated))),
            kSealed);
}

TEST(AeadKeyTest, OpensThePublishedVector) {
  const auto opened = Aead(kKey).Open(HexArray<12>(kNonce), Hex(kSealed), Hex(kAssociated));

  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(ToHex(opened->Reveal()), kPlaintext);
}

TEST(AeadKeyTest, OpensAnEmptyMessage) {
  const AeadKey key = Aead(kKey);

  const auto opened = key.Open({}, key.Seal({}, {}, AsBytes("what for")), AsBytes("what for"));

  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened->size(), 0u);
}

TEST(AeadKeyTest, RefusesEveryFlippedBit) {
  const AeadKey key = Aead(kKey);
  const Bytes sealed = Hex(kSealed);
  for (std::size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    Bytes changed = sealed;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));

    EXPECT_EQ(key.Open(HexArray<12>(kNonce), changed, Hex(kAssociated)).status().code(),
              StatusCode::kDataLoss)
        << bit;
  }
}

TEST(AeadKeyTest, RefusesEveryTruncation) {
  const AeadKey key = Aead(kKey);
  const Bytes sealed = Hex(kSealed);
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    const auto opened =
        key.Open(HexArray<12>(kNonce), ByteSpan(sealed).first(size), Hex(kAssociated));

    EXPECT_EQ(opened.status().code(), StatusCode::kDataLoss) << size;
  }
}

TEST(AeadKeyTest, RefusesAnotherPurposeNonceOrKey) {
  const Nonce nonce = HexArray<12>(kNonce);
  const Bytes sealed = Hex(kSealed);

  EXPECT_EQ(Aead(kKey).Open(nonce, sealed, AsBytes("else")).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(Aead(kKey).Open({}, sealed, Hex(kAssociated)).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(Aead(kZeroKey).Open(nonce, sealed, Hex(kAssociated)).status().code(),
            StatusCode::kDataLoss);
}

TEST(AeadKeyTest, RefusesAKeyOfAnotherSize) {
  EXPECT_EQ(MessageOf(AeadKey::Create(SecretBytes(16)).status()),
            "an AES-256-GCM key has 32 bytes, got 16");
}

// Channel key 3 -> 7 of the secure-aggregation known answers: r = 5, type = 1, associated data
// session || r || from || to || type.
TEST(AeadKeyTest, MatchesTheKnownShareCiphertext) {
  const AeadKey key = Aead("62f9bdb478cf718a61610614e76031bb5c61a30acbffd222a703a671a2370d94");
  const Bytes associated =
      Hex("1902639e7f8390e1709a3fc9402d96b33b3ed9c2b752478aa624934a08990cf2"
          "0000000000000005000000030000000700000001");

  EXPECT_EQ(
      ToHex(key.Seal(HexArray<12>("000000000000000500000001"), Bytes(80), associated)),
      "27e22c03d2c3276856ee8b0013866ad9e9d6fd45bd70f5b45349b3f9ec22ab155aaf8611d1c90210a2f156b875"
      "4f9f4f84a5f9b83d2616130063035ce5e251eb071141c23dbd66828b8358a9fbd46c1f2a378fcef8d53aa13c57"
      "f939d0d1bace");
}

// The blocks at counters 0, 1 and 2 under a zero key also are H, the tag and the ciphertext of GCM
// test cases 1, 2, 13 and 14.
TEST(CtrStreamTest, MatchesThePublishedBlocksOfAZeroKey) {
  CtrStream small = Ctr(Bytes(16));
  CtrStream large = Ctr(Bytes(32));

  EXPECT_EQ(Next(small, 48),
            "66e94bd4ef8a2c3b884cfa59ca342b2e58e2fccefa7e3061367f1d57a4e7455a"
            "0388dace60b6a392f328c2b971b2fe78");
  EXPECT_EQ(Next(large, 48),
            "dc95c078a2408989ad48a21492842087530f8afbc74536b9a963b4f1c4cb738b"
            "cea7403d4d606b6e074ec5d3baf39d18");
}

// First little-endian words of the secure-aggregation known masks.
TEST(CtrStreamTest, MatchesTheKnownMasks) {
  CtrStream pair = Ctr(Hex("6f4bae387e2fdbb8fb016f740111c63e"));
  CtrStream self = Ctr(Hex("7cb69a76fffa94f9233f9047e9d6bc5b"));

  EXPECT_EQ(Next(pair, 32), "3f41073f993734f06b994bbed536e47eb3646b52b160f63cd3ee2442c9e4b1cc");
  EXPECT_EQ(Next(self, 16), "8d3d1236df95d0a41c1a47130d44a845");
}

TEST(CtrStreamTest, IsTheSameInPiecesOfAnySize) {
  const Bytes key = Counting(0, 32);
  CtrStream whole = Ctr(key);
  const std::string expected = Next(whole, 40'000);
  for (const std::size_t piece : {1u, 7u, 16u, 1000u, 16384u, 16385u}) {
    CtrStream stream = Ctr(key);
    std::string got;
    while (got.size() < expected.size()) {
      got += Next(stream, std::min(piece, (expected.size() - got.size()) / 2));
    }

    EXPECT_EQ(got, expected) << piece;
  }
}

TEST(CtrStreamTest, SeeksToAnyByte) {
  const Bytes key = Counting(0, 16);
  CtrStream whole = Ctr(key);
  const std::string expected = Next(whole, 100);
  CtrStream stream = Ctr(key);
  for (const std::size_t offset : {64u, 0u, 16u, 17u, 31u, 99u}) {
    stream.Seek(offset);

    EXPECT_EQ(Next(stream, 1), expected.substr(2 * offset, 2)) << offset;
  }
}

// Computed with another implementation: the counter passes 2^32.
TEST(CtrStreamTest, SeeksBeyondTheCounterOf32Bits) {
  CtrStream small = Ctr(Bytes(16));
  CtrStream large = Ctr(Bytes(32));
  small.Seek(std::uint64_t{1} << 36);
  large.Seek((std::uint64_t{1} << 36) - 16);

  EXPECT_EQ(Next(small, 16), "72535b7fe0f0f777cedcd55cd77e2ddf");
  EXPECT_EQ(Next(large, 32).substr(32), "677d494dbb73caf55c1990158da12f14");
}

TEST(CtrStreamTest, RestartsAnywhereUnderAnotherKey) {
  const Bytes small = Counting(0, 16);
  const Bytes large = Counting(1, 32);
  CtrStream stream = Ctr(small);
  for (const Bytes& key : {large, small, small, large}) {
    for (const std::size_t offset : {0u, 5u, 48u, 1'000'001u}) {
      CtrStream expected = Ctr(key);
      expected.Seek(offset);

      ASSERT_TRUE(stream.Restart(SecretBytes(key), offset).ok());

      EXPECT_EQ(Next(stream, 40), Next(expected, 40)) << offset;
    }
  }
}

TEST(CtrStreamTest, GoesOnWhenAKeyOfAnotherSizeIsRefused) {
  CtrStream stream = Ctr(Bytes(16));
  (void)Next(stream, 16);

  EXPECT_EQ(stream.Restart(SecretBytes(24), 0).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Next(stream, 16), "58e2fccefa7e3061367f1d57a4e7455a");
}

TEST(CtrStreamTest, ContinuesAfterAMove) {
  CtrStream first = Ctr(Bytes(16));
  (void)Next(first, 16);

  CtrStream second = std::move(first);

  EXPECT_EQ(Next(second, 16), "58e2fccefa7e3061367f1d57a4e7455a");
}

TEST(CtrStreamTest, RefusesAKeyOfAnotherSize) {
  EXPECT_EQ(MessageOf(CtrStream::Create(SecretBytes(24)).status()),
            "an AES-CTR key has 16 or 32 bytes, got 24");
}

ChaCha20Stream ChaCha(std::uint64_t nonce) {
  return *ChaCha20Stream::Create(SecretBytes(Hex(kZeroKey)), nonce);
}

// RFC 8439, appendix A.1, test vectors 1, 2 and 5, whose nonces end in 64 bits of ours.
TEST(ChaCha20StreamTest, GivesThePublishedKeystreams) {
  ChaCha20Stream stream = ChaCha(0);
  Bytes blocks(128);
  stream.Generate(blocks);
  EXPECT_EQ(ToHex(blocks),
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
            "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
            "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
            "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f");

  ChaCha20Stream other = ChaCha(std::uint64_t{2} << 56);
  Bytes block(64);
  other.Generate(block);
  EXPECT_EQ(ToHex(block),
            "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7"
            "8a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d");
}

TEST(ChaCha20StreamTest, PiecesOfAnySizeReadTheSameBytes) {
  ChaCha20Stream whole = ChaCha(1);
  ChaCha20Stream pieces = ChaCha(1);
  Bytes expected(50'000);
  whole.Generate(expected);

  Bytes bytes(expected.size());
  std::size_t at = 0;
  for (std::size_t size = 1; at < bytes.size(); size = size * 3 + 1) {
    const std::size_t now = std::min(size, bytes.size() - at);
    pieces.Generate(std::span(bytes).subspan(at, now));
    at += now;
  }

  EXPECT_EQ(bytes, expected);
}

TEST(ChaCha20StreamTest, RefusesKeysOfAnotherSize) {
  for (const std::size_t size : {0u, 16u, 31u, 33u}) {
    EXPECT_EQ(ChaCha20Stream::Create(SecretBytes(size), 0).status().code(),
              StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace chorale::crypto
