#include "training/fixed_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
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

TEST(FixedBlocksTest, CommitsInOrderWhatTheSameWorkerComputed) {
  for (const int threads : {1, 3, 8}) {
    std::vector<std::int64_t> computed(static_cast<std::size_t>(threads), -1);
    std::vector<std::int64_t> committed;
    ForEachInOrder(
        threads, 50,
        [&](int worker, std::int64_t index) { computed[static_cast<std::size_t>(worker)] = index; },
        [&](int worker, std::int64_t index) {
          EXPECT_EQ(computed[static_cast<std::size_t>(worker)], index);
          committed.push_back(index);
        });

    ASSERT_EQ(committed.size(), 50u);
    EXPECT_TRUE(std::is_sorted(committed.begin(), committed.end()));
  }
}

TEST(FixedBlocksTest, CommitsNothingAfterAFailureAndRethrowsIt) {
  for (const int threads : {1, 4}) {
    for (const bool fails_in_commit : {false, true}) {
      std::vector<std::int64_t> committed;
      const auto fail = [](std::int64_t index) {
        if (index == 5) throw std::runtime_error("piece 5");
      };
      EXPECT_THROW(ForEachInOrder(
                       threads, 100,
                       [&](int, std::int64_t index) {
                         if (!fails_in_commit) fail(index);
                       },
                       [&](int, std::int64_t index) {
                         if (fails_in_commit) fail(index);
                         committed.push_back(index);
                       }),
                   std::runtime_error);
      for (const std::int64_t index : committed) EXPECT_LT(index, 5);
    }
  }
}

TEST(FixedBlocksTest, NoPiecesInOrderAreNoWork) {
  const auto fail = [](int, std::int64_t) { FAIL() << "there is no piece"; };
  ForEachInOrder(4, 0, fail, fail);
}

}  // namespace
}  // namespace chorale::training
