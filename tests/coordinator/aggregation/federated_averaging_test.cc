#include "coordinator/aggregation/federated_averaging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/chunking.h"
#include "core/parameters.h"
#include "core/random.h"
#include "tests/support/temporary_directory.h"

namespace chorale::coordinator {
namespace {

using testing::HasSubstr;

class FederatedAveragingTest : public testing::Test {
 protected:
  crypto::BlobId Keep(const std::vector<float>& values) {
    const ByteSpan bytes = AsBytes(std::span<const float>(values));
    PayloadWriter writer = *payloads_->Create(bytes.size());
    for (std::uint64_t i = 0; i < NumChunks(bytes.size()); ++i) {
      const ChunkRange range = ChunkAt(bytes.size(), i);
      EXPECT_TRUE(writer.Append(bytes.subspan(range.offset_bytes, range.size_bytes)).ok());
    }
    auto held = std::move(writer).Commit();
    EXPECT_TRUE(held.ok()) << held.status();
    const crypto::BlobId id = held->id();
    payloads_->Keep(id, held->bytes());
    return id;
  }
  std::vector<float> Load(const crypto::BlobId& id) const {
    const auto reader = payloads_->Find(id);
    EXPECT_TRUE(reader.ok()) << reader.status();
    std::vector<float> values(id.size_bytes / sizeof(float));
    EXPECT_TRUE(
        reader->ReadAt(0, {reinterpret_cast<std::uint8_t*>(values.data()), id.size_bytes}).ok());
    return values;
  }
  StatusOr<HeldPayload> Average(const AveragingRequest& request, int num_threads = 2) {
    return AverageUpdates(*payloads_, request, num_threads, cancelled_);
  }
  std::vector<float> Draw(std::size_t size) {
    std::vector<float> values(size);
    for (float& value : values) value = static_cast<float>(random_.NextDouble() - 0.5);
    return values;
  }

  support::TemporaryDirectory directory_{support::Medium::kMemory};
  std::unique_ptr<PayloadStore> payloads_ = *PayloadStore::Open(directory_.path() / "payloads");
  std::atomic<bool> cancelled_ = false;
  SeededRandom random_{1};
};

TEST_F(FederatedAveragingTest, WeighsByExamples) {
  const AveragingRequest request{
      .model = Keep({10, 20}),
      .contributions = {{SiteId("a"), Keep({1, 2}), 30}, {SiteId("b"), Keep({5, 10}), 10}},
      .weighting = v1::WEIGHTING_EXAMPLES};

  const auto next = Average(request);

  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_THAT(Load(next->id()), testing::ElementsAre(12, 24));
}

TEST_F(FederatedAveragingTest, WeighsUniformly) {
  const AveragingRequest request{
      .model = Keep({10, 20}),
      .contributions = {{SiteId("a"), Keep({1, 2}), 30}, {SiteId("b"), Keep({5, 10}), 10}},
      .weighting = v1::WEIGHTING_UNIFORM};

  const auto next = Average(request);

  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_THAT(Load(next->id()), testing::ElementsAre(13, 26));
}

// Sizes around the borders of inline payloads, pieces and chunks.
TEST_F(FederatedAveragingTest, AveragesModelsOfAnySizeTheSameForAnyNumberOfThreads) {
  for (const std::size_t size : {1u, 16384u, 16385u, 262144u, 262145u, 900001u}) {
    const std::vector<float> model = Draw(size);
    const std::vector<float> north = Draw(size);
    const std::vector<float> south = Draw(size);
    const AveragingRequest request{
        .model = Keep(model),
        .contributions = {{SiteId("north"), Keep(north), 1}, {SiteId("south"), Keep(south), 3}},
        .weighting = v1::WEIGHTING_EXAMPLES};

    const auto alone = Average(request, 1);
    const auto together = Average(request, 3);

    ASSERT_TRUE(alone.ok()) << alone.status();
    ASSERT_TRUE(together.ok()) << together.status();
    EXPECT_EQ(alone->id(), together->id()) << size;
    const std::vector<float> next = Load(alone->id());
    for (std::size_t i = 0; i < size; i += std::max<std::size_t>(1, size / 97)) {
      ASSERT_NEAR(next[i], model[i] + 0.25f * north[i] + 0.75f * south[i], 1e-6) << size;
    }
  }
}

TEST_F(FederatedAveragingTest, RefusesAModelBeyondFloat32) {
  const float huge = std::numeric_limits<float>::max();
  const AveragingRequest request{.model = Keep({huge}),
                                 .contributions = {{SiteId("a"), Keep({huge}), 1}},
                                 .weighting = v1::WEIGHTING_UNIFORM};

  const auto next = Average(request);

  EXPECT_EQ(next.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(next.status()), HasSubstr("training diverged"));
}

TEST_F(FederatedAveragingTest, RefusesAnUpdateOfAnotherSize) {
  const AveragingRequest request{.model = Keep({1, 2}),
                                 .contributions = {{SiteId("a"), Keep({1}), 1}},
                                 .weighting = v1::WEIGHTING_UNIFORM};

  EXPECT_EQ(Average(request).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(FederatedAveragingTest, NamesTheSiteWhoseUpdateIsGone) {
  const AveragingRequest request{
      .model = Keep({1}),
      .contributions = {{SiteId("north"), {.size_bytes = 4, .digest = {1}}, 1}},
      .weighting = v1::WEIGHTING_UNIFORM};

  const auto next = Average(request);

  EXPECT_EQ(next.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(next.status()), HasSubstr("site north"));
}

TEST_F(FederatedAveragingTest, StopsWhenItIsTold) {
  const AveragingRequest request{.model = Keep(Draw(900'001)),
                                 .contributions = {{SiteId("a"), Keep(Draw(900'001)), 1}},
                                 .weighting = v1::WEIGHTING_UNIFORM};
  cancelled_ = true;

  EXPECT_EQ(Average(request).status().code(), StatusCode::kCancelled);
}

TEST_F(FederatedAveragingTest, RefusesWeightsThatDoNotExist) {
  const AveragingRequest none{.model = {}, .contributions = {}, .weighting = v1::WEIGHTING_UNIFORM};
  const AveragingRequest no_examples{
      .model = {}, .contributions = {{SiteId("a"), {}, 0}}, .weighting = v1::WEIGHTING_EXAMPLES};
  const AveragingRequest unspecified{.model = {}, .contributions = {{SiteId("a"), {}, 1}}};

  EXPECT_EQ(ContributionWeights(none).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ContributionWeights(no_examples).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ContributionWeights(unspecified).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::coordinator
