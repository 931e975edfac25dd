#include "coordinator/uploads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"

namespace chorale::coordinator {
namespace {

const ResearcherId kAda("ada");
const ResearcherId kEve("eve");
const Time kNow{std::chrono::seconds(1'000'000)};

class UploadsTest : public testing::Test {
 protected:
  HeldPayload Write(const Bytes& bytes) {
    PayloadWriter writer = *payloads_->Create(bytes.size());
    EXPECT_TRUE(writer.Append(bytes).ok());
    return *std::move(writer).Commit();
  }

  StatusOr<Uploads::Turn> Begin(const ResearcherId& researcher) {
    return uploads_.Begin(researcher, kNow, [this] { ++num_cancelled_; });
  }

  int num_cancelled_ = 0;
  support::TemporaryDirectory directory_{support::Medium::kMemory};
  std::unique_ptr<PayloadStore> payloads_ = *PayloadStore::Open(directory_.path() / "payloads");
  Uploads uploads_;
};

TEST_F(UploadsTest, FindsAnUploadForItsResearcherOnly) {
  HeldPayload model = Write(Bytes(8, 1));
  const crypto::BlobId id = model.id();
  uploads_.Put(kAda, std::move(model), kNow);

  ASSERT_NE(uploads_.Find(kAda, id), nullptr);
  EXPECT_EQ(uploads_.Find(kAda, id)->id(), id);
  EXPECT_EQ(uploads_.Find(kEve, id), nullptr);
  EXPECT_EQ(uploads_.Find(kAda, crypto::BlobId{.size_bytes = 8, .digest = {1}}), nullptr);
}

TEST_F(UploadsTest, KeepsOneOfEachResearcher) {
  HeldPayload first = Write(Bytes(8, 1));
  const crypto::BlobId first_id = first.id();
  HeldPayload second = Write(Bytes(8, 2));
  const crypto::BlobId second_id = second.id();
  uploads_.Put(kAda, std::move(first), kNow);
  uploads_.Put(kAda, std::move(second), kNow);

  EXPECT_EQ(uploads_.Find(kAda, first_id), nullptr);
  EXPECT_EQ(payloads_->Find(first_id).status().code(), StatusCode::kNotFound);
  EXPECT_NE(uploads_.Find(kAda, second_id), nullptr);
}

TEST_F(UploadsTest, ForgetsAnUploadAfterAnHour) {
  HeldPayload model = Write(Bytes(8, 1));
  const crypto::BlobId id = model.id();
  uploads_.Put(kAda, std::move(model), kNow);

  uploads_.Expire(kNow + Uploads::kLifetime - std::chrono::seconds(1));
  EXPECT_NE(uploads_.Find(kAda, id), nullptr);
  uploads_.Expire(kNow + Uploads::kLifetime);

  EXPECT_EQ(uploads_.Find(kAda, id), nullptr);
  EXPECT_EQ(payloads_->Find(id).status().code(), StatusCode::kNotFound);
}

TEST_F(UploadsTest, WhoFoundAnUploadHoldsIt) {
  HeldPayload model = Write(Bytes(8, 1));
  const crypto::BlobId id = model.id();
  uploads_.Put(kAda, std::move(model), kNow);
  const auto held = uploads_.Find(kAda, id);

  uploads_.Expire(kNow + Uploads::kLifetime);

  EXPECT_TRUE(payloads_->Find(id).ok());
}

TEST_F(UploadsTest, TakesOneAtATimeOfAResearcher) {
  {
    const auto turn = Begin(kAda);
    ASSERT_TRUE(turn.ok()) << turn.status();
    EXPECT_EQ(Begin(kAda).status().code(), StatusCode::kResourceExhausted);
    EXPECT_TRUE(Begin(kEve).ok());
  }
  EXPECT_TRUE(Begin(kAda).ok());
}

TEST_F(UploadsTest, EndsAnUploadThatTakesTooLong) {
  {
    const auto turn = Begin(kAda);
    ASSERT_TRUE(turn.ok()) << turn.status();
    uploads_.Expire(kNow + Uploads::kLifetime - std::chrono::seconds(1));
    EXPECT_EQ(num_cancelled_, 0);

    uploads_.Expire(kNow + Uploads::kLifetime);

    EXPECT_EQ(num_cancelled_, 1);
  }
  uploads_.Expire(kNow + 2 * Uploads::kLifetime);
  EXPECT_EQ(num_cancelled_, 1);
}

TEST_F(UploadsTest, BoundsTheUploadsUnderWay) {
  std::vector<Uploads::Turn> turns;
  for (std::size_t i = 0; i < Uploads::kMaxAtOnce; ++i) {
    auto turn = Begin(ResearcherId("r" + std::to_string(i)));
    ASSERT_TRUE(turn.ok()) << turn.status();
    turns.push_back(*std::move(turn));
  }

  EXPECT_EQ(Begin(kAda).status().code(), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace chorale::coordinator
