#include "training/fixed_blocks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace chorale::training {
namespace {

TEST(FixedBlocksTest, CutsAtTheSamePlacesForAnyNumberOfThreads) {
  for (const int threads : {1, 2, 5, 64}) {
    std::vector<std::int64_t> size_at(100);
    ForEachBlock(threads, 100, 7, [&](std::int64_t first, std::int64_t size) {
      size_at[static_cast<std::size_t>(first)] = size;
    });

    for (std::int64_t i = 0; i < 100; ++i) {
      const std::int64_t expected = i % 7 != 0 ? 0 : i == 98 ? 2 : 7;
      EXPECT_EQ(size_at[static_cast<std::size_t>(i)], expected)
          << "threads " << threads << " at " << i;
    }
  }
}

TEST(FixedBlocksTest, DoesNothingForNothing) {
  ForEachBlock(4, 0, 7, [](std::int64_t, std::int64_t) { FAIL() << "there is no block"; });
}

TEST(FixedBlocksTest, AnExceptionReachesTheCallerAfterAllBlocksEnded) {
  for (const int threads : {1, 4}) {
    std::atomic<int> ended = 0;
    EXPECT_THROW(ForEachBlock(threads, 20, 1,
                              [&](std::int64_t first, std::int64_t) {
                                if (first == 19) throw std::runtime_error("block 19");
                                ++ended;
                              }),
                 std::runtime_error);
    EXPECT_EQ(ended, 19);
  }
}

}  // namespace
}  // namespace chorale::training
