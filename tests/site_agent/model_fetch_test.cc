#include "site_agent/model_fetch.h"

#include <gtest/gtest.h>

#include <thread>

#include "core/bytes.h"
#include "core/chunking.h"
#include "core/rpc/chunks.h"
#include "tests/site_agent/fixtures.h"

namespace chorale::site_agent {
namespace {

// Serves a blob; each call may break after some chunks.
class FlakySource final : public BlobSource {
 public:
  explicit FlakySource(Bytes content) : content_(std::move(content)) {}

  Status Fetch(const TaskId&, const crypto::BlobId&, std::uint64_t offset_bytes,
               const std::function<Status(const v1::Chunk&)>& accept,
               Cancellation& cancellation) override {
    offsets.push_back(offset_bytes);
    if (on_call) on_call(cancellation);
    if (offset_bytes % kChunkBytes != 0) return InvalidArgument("a chunk does not begin there");
    std::uint64_t sent = 0;
    Status refused;
    const Status status = rpc::SendBytes(content_, [&](v1::Chunk&& chunk) {
      if (chunk.offset_bytes() < offset_bytes) return true;
      if (sent++ == chunks_per_call) return false;
      if (spoil) spoil(chunk);
      refused = accept(chunk);
      return refused.ok();
    });
    if (!refused.ok()) return refused;
    if (!final_answer.ok()) return final_answer;
    return status;
  }

  std::vector<std::uint64_t> offsets;
  std::uint64_t chunks_per_call = ~std::uint64_t{0};
  std::function<void(v1::Chunk&)> spoil;
  std::function<void(Cancellation&)> on_call;
  Status final_answer;

 private:
  Bytes content_;
};

// No pause between attempts.
class ZeroRandom final : public RandomSource {
 public:
  void Fill(std::span<std::uint8_t> bytes) override { std::ranges::fill(bytes, std::uint8_t{0}); }
};

class ModelFetchTest : public testing::Test {
 protected:
  StatusOr<ParameterVector> Fetch() {
    return FetchParameters(source_, TaskId("t"), blob_, random_, cancellation_);
  }

  ParameterVector values_ = [] {
    ParameterVector values(3 * kChunkBytes / sizeof(float) + 10);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    return values;
  }();
  Bytes bytes_{AsBytes(std::span<const float>(values_)).begin(),
               AsBytes(std::span<const float>(values_)).end()};
  crypto::BlobId blob_ = crypto::IdentifyBlob(bytes_);
  FlakySource source_{bytes_};
  ZeroRandom random_;
  Cancellation cancellation_;
};

TEST_F(ModelFetchTest, FetchesEveryChunk) {
  const StatusOr<ParameterVector> fetched = Fetch();

  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(*fetched, values_);
  EXPECT_EQ(source_.offsets, std::vector<std::uint64_t>{0});
}

TEST_F(ModelFetchTest, GoesOnWhereItBroke) {
  source_.chunks_per_call = 2;

  const StatusOr<ParameterVector> fetched = Fetch();

  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(*fetched, values_);
  EXPECT_EQ(source_.offsets, (std::vector<std::uint64_t>{0, 2 * kChunkBytes}));
}

TEST_F(ModelFetchTest, ACallThatBreaksAfterTheLastChunkHasBroughtEverything) {
  source_.final_answer = Unavailable("the connection was reset");

  const StatusOr<ParameterVector> fetched = Fetch();

  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(*fetched, values_);
  EXPECT_EQ(source_.offsets.size(), 1u);
}

TEST_F(ModelFetchTest, RefusesBytesThatAreNotTheBlobs) {
  source_.spoil = [](v1::Chunk& chunk) { (*chunk.mutable_data())[5] ^= 1; };
  EXPECT_EQ(Fetch().status().code(), StatusCode::kDataLoss);

  source_.spoil = [](v1::Chunk& chunk) {
    (*chunk.mutable_data())[5] ^= 1;
    chunk.set_sha256(ToString(crypto::Sha256(AsBytes(chunk.data()))));
  };
  EXPECT_EQ(Fetch().status().code(), StatusCode::kDataLoss);

  source_.spoil = [](v1::Chunk& chunk) { chunk.set_offset_bytes(~std::uint64_t{0}); };
  EXPECT_FALSE(Fetch().ok());

  source_.spoil = [](v1::Chunk& chunk) { chunk.mutable_data()->resize(3 * kChunkBytes); };
  EXPECT_FALSE(Fetch().ok());
}

TEST_F(ModelFetchTest, ARefusalOfTheCoordinatorIsFinal) {
  source_.chunks_per_call = 0;
  source_.final_answer = PermissionDenied("not this task's");

  EXPECT_EQ(Fetch().status().code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(source_.offsets.size(), 1u);
}

TEST_F(ModelFetchTest, ABlobThatEndsEarlyIsRefused) {
  blob_.size_bytes += 4;

  EXPECT_FALSE(Fetch().ok());
}

TEST_F(ModelFetchTest, CancellationEndsAWaitAtOnce) {
  source_.chunks_per_call = 0;
  source_.final_answer = Unavailable("there is no connection to the coordinator");
  std::thread canceller;
  source_.on_call = [&](Cancellation& cancellation) {
    if (!canceller.joinable()) canceller = std::thread([&cancellation] { cancellation.Cancel(); });
  };

  const StatusOr<ParameterVector> fetched = Fetch();

  canceller.join();
  EXPECT_EQ(fetched.status().code(), StatusCode::kCancelled);
}

TEST(CancellationTest, InterruptsWhoeverRegisteredBeforeOrAfter) {
  Cancellation cancellation;
  int interrupts = 0;
  {
    const Cancellation::Interrupt interrupt(cancellation, [&] { ++interrupts; });
  }
  {
    const Cancellation::Interrupt interrupt(cancellation, [&] { ++interrupts; });
    cancellation.Cancel();
    cancellation.Cancel();
    EXPECT_EQ(interrupts, 1);
  }
  const Cancellation::Interrupt late(cancellation, [&] { ++interrupts; });

  EXPECT_EQ(interrupts, 2);
  EXPECT_TRUE(cancellation.WaitFor(std::chrono::hours(1)));
}

TEST(CoefficientFetchTest, FetchesNumbersOfEightBytes) {
  const std::vector<double> coefficients = {1.0 / 3, -2, 1e300};
  const ByteSpan bytes = AsBytes(std::span<const double>(coefficients));
  FlakySource source(Bytes(bytes.begin(), bytes.end()));
  ZeroRandom random;
  Cancellation cancellation;

  const auto fetched =
      FetchCoefficients(source, TaskId("t"), crypto::IdentifyBlob(bytes), random, cancellation);

  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(*fetched, coefficients);
}

}  // namespace
}  // namespace chorale::site_agent
