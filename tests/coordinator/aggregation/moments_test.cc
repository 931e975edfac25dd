#include "coordinator/aggregation/moments.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/parameters.h"
#include "tests/support/temporary_directory.h"

namespace chorale::coordinator {
namespace {

Status Check(const std::vector<double>& sums, std::uint64_t num_examples = 10) {
  return CheckMomentSums(AsBytes(std::span<const double>(sums)), num_examples);
}

class MomentsTest : public testing::Test {
 protected:
  crypto::BlobId Keep(const std::vector<double>& sums) {
    const ByteSpan bytes = AsBytes(std::span<const double>(sums));
    PayloadWriter writer = *payloads_->Create(bytes.size());
    EXPECT_TRUE(writer.Append(bytes).ok());
    const auto held = std::move(writer).Commit();
    payloads_->Keep(held->id(), held->bytes());
    return held->id();
  }

  support::TemporaryDirectory directory_{support::Medium::kMemory};
  std::unique_ptr<PayloadStore> payloads_ = *PayloadStore::Open(directory_.path() / "payloads");
};

TEST_F(MomentsTest, AddsTheSumsOfAllSites) {
  // Values 1, 3 at north and 5 at south: mean 3, sample deviation 2.
  const auto moments = AggregateMoments(
      *payloads_, {{SiteId("north"), Keep({2, 4, 10}), 2}, {SiteId("south"), Keep({1, 5, 25}), 1}});

  ASSERT_TRUE(moments.ok()) << moments.status();
  ASSERT_EQ(moments->size(), 1u);
  EXPECT_DOUBLE_EQ(moments->at(0).mean(), 3);
  EXPECT_DOUBLE_EQ(moments->at(0).standard_deviation(), 2);
}

TEST_F(MomentsTest, RefusesPayloadsOfDifferentSizes) {
  const auto moments = AggregateMoments(
      *payloads_, {{SiteId("a"), Keep({1, 1, 1}), 1}, {SiteId("b"), Keep({1, 1, 1, 1, 1, 1}), 1}});

  EXPECT_EQ(moments.status().code(), StatusCode::kInvalidArgument);
}

TEST_F(MomentsTest, RefusesToAddNothing) {
  EXPECT_EQ(AggregateMoments(*payloads_, {}).status().code(), StatusCode::kInvalidArgument);
}

TEST(MomentSumsTest, AcceptsSumsThatRowsCanHave) { EXPECT_TRUE(Check({10, -3, 4, 0, 0, 0}).ok()); }

TEST(MomentSumsTest, RefusesSumsThatNoRowsCanHave) {
  const double infinite = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();

  for (const std::vector<double>& sums : std::vector<std::vector<double>>{{11, 0, 0},
                                                                          {-1, 0, 0},
                                                                          {1.5, 0, 0},
                                                                          {nan, 0, 0},
                                                                          {1, infinite, 0},
                                                                          {1, 0, nan},
                                                                          {1, 0, -1},
                                                                          {1, 0}}) {
    EXPECT_EQ(Check(sums).code(), StatusCode::kInvalidArgument) << sums[0];
  }
}

TEST(MomentSumsTest, RefusesBytesThatAreNoNumbers) {
  EXPECT_EQ(CheckMomentSums(Bytes(23), 10).code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::coordinator
