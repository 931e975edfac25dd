#include "core/crypto/blob_digest.h"

#include <gtest/gtest.h>

#include <string>

#include "core/bytes.h"
#include "core/chunking.h"

namespace chorale::crypto {
namespace {

// Byte i is 31 i + 7 modulo 256.
Bytes Pattern(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(31 * i + 7);
  return bytes;
}

// Computed with another implementation from the formula in the header.
TEST(IdentifyBlobTest, MatchesKnownAnswersAroundTheChunkSize) {
  const auto digest = [](std::size_t size) { return ToHex(IdentifyBlob(Pattern(size)).digest); };

  EXPECT_EQ(digest(0), "0c426b2870d3b36f5fb257aaaa2d72bbcdcd27615a2e374696cf3d791d926264");
  EXPECT_EQ(digest(1), "6dbaeec22ffdd81d43a19190e55d5a67f5ed43901565013db7d0b7f79f6bc3d5");
  EXPECT_EQ(digest(kChunkBytes),
            "f35779172de222df9ef060d0936a89c391e0836ffa077ffc66674fc9b365d2f0");
  EXPECT_EQ(digest(kChunkBytes + 1),
            "7809dd19060631bd29991765beb2c68a3de5492be04a8ee7785350213f56a522");
  EXPECT_EQ(digest(3'000'000), "d622ffe8bfe1a2906ca19ea55eeb5fa9c95aef334704ddb752d713cda0305e16");
}

TEST(IdentifyBlobTest, TellsTheSize) {
  EXPECT_EQ(IdentifyBlob(Pattern(12'345)).size_bytes, 12'345u);
}

TEST(BlobHasherTest, OfChunksEqualsTheBlobAtOnce) {
  const Bytes blob = Pattern(2 * kChunkBytes + 5);
  BlobHasher hasher;
  for (std::uint64_t i = 0; i < NumChunks(blob.size()); ++i) {
    const ChunkRange range = ChunkAt(blob.size(), i);
    hasher.AddChunk(Sha256(ByteSpan(blob).subspan(range.offset_bytes, range.size_bytes)),
                    range.size_bytes);
  }

  EXPECT_EQ(hasher.size_bytes(), blob.size());
  EXPECT_EQ(hasher.Finish(), IdentifyBlob(blob));
}

TEST(BlobHasherTest, ChangesWithTheOrderOfChunks) {
  const Digest a = Sha256(AsBytes("a"));
  const Digest b = Sha256(AsBytes("b"));
  BlobHasher first;
  first.AddChunk(a, kChunkBytes);
  first.AddChunk(b, kChunkBytes);
  BlobHasher second;
  second.AddChunk(b, kChunkBytes);
  second.AddChunk(a, kChunkBytes);

  EXPECT_NE(first.Finish(), second.Finish());
}

TEST(BlobHasherTest, ChangesWithTheSizeOfTheLastChunk) {
  BlobHasher first;
  first.AddChunk(Sha256({}), 1);
  BlobHasher second;
  second.AddChunk(Sha256({}), 2);

  EXPECT_NE(first.Finish().digest, second.Finish().digest);
}

}  // namespace
}  // namespace chorale::crypto
