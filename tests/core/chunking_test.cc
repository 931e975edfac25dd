#include "core/chunking.h"

#include <gtest/gtest.h>

#include <limits>

namespace chorale {
namespace {

TEST(ChunkingTest, AnEmptyBlobHasNoChunk) { EXPECT_EQ(NumChunks(0), 0u); }

TEST(ChunkingTest, CountsTheShortLastChunk) {
  EXPECT_EQ(NumChunks(1), 1u);
  EXPECT_EQ(NumChunks(kChunkBytes), 1u);
  EXPECT_EQ(NumChunks(kChunkBytes + 1), 2u);
}

TEST(ChunkingTest, TheLargestSizeDoesNotOverflow) {
  constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();

  EXPECT_EQ(NumChunks(kLargest), std::uint64_t{1} << 44);
  const ChunkRange last = ChunkAt(kLargest, NumChunks(kLargest) - 1);
  EXPECT_EQ(last.size_bytes, kChunkBytes - 1);
}

TEST(ChunkingTest, ChunksCoverTheBlobOnceAndInOrder) {
  constexpr std::uint64_t kSize = 3 * kChunkBytes + 17;
  std::uint64_t next = 0;
  for (std::uint64_t i = 0; i < NumChunks(kSize); ++i) {
    const ChunkRange range = ChunkAt(kSize, i);
    EXPECT_EQ(range.offset_bytes, next);
    next += range.size_bytes;
  }
  EXPECT_EQ(next, kSize);
}

}  // namespace
}  // namespace chorale
