#include "coordinator/uploads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>

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

  std::unique_ptr<PartialPayload> PartOf(const crypto::BlobId& id) {
    return std::make_unique<PartialPayload>(rpc::ChunkReceiver(id),
                                            *payloads_->Create(id.size_bytes));
  }

  static constexpr crypto::BlobId kModel{.size_bytes = 3 * kChunkBytes, .digest = {1}};
  static constexpr crypto::BlobId kOther{.size_bytes = 3 * kChunkBytes, .digest = {2}};
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

TEST_F(UploadsTest, KeepsTheBeginningOfOneModelForItsResearcher) {
  {
    Uploads::Turn turn = *Begin(kAda);
    EXPECT_EQ(turn.TakePartial(kModel), nullptr);
    turn.KeepPartial(PartOf(kModel), kNow);
  }
  Uploads::Turn other = *Begin(kEve);
  EXPECT_EQ(other.TakePartial(kModel), nullptr);

  Uploads::Turn turn = *Begin(kAda);
  const std::unique_ptr<PartialPayload> partial = turn.TakePartial(kModel);
  ASSERT_NE(partial, nullptr);
  EXPECT_EQ(partial->receiver.expected(), kModel);
  EXPECT_EQ(turn.TakePartial(kModel), nullptr);
}

TEST_F(UploadsTest, ForgetsTheBeginningWithAnotherModelAndAfterAnHour) {
  {
    Uploads::Turn turn = *Begin(kAda);
    turn.KeepPartial(PartOf(kModel), kNow);
    EXPECT_EQ(turn.TakePartial(kOther), nullptr);
    EXPECT_EQ(turn.TakePartial(kModel), nullptr);
    turn.KeepPartial(PartOf(kModel), kNow);
  }
  uploads_.Expire(kNow + Uploads::kLifetime);

  EXPECT_EQ(Begin(kAda)->TakePartial(kModel), nullptr);
}

TEST_F(UploadsTest, TellsHowMuchOfAModelIsHeld) {
  HeldPayload model = Write(Bytes(8, 1));
  const crypto::BlobId id = model.id();
  EXPECT_EQ(*uploads_.FindReceived(kAda, id, Duration(0)), 0u);
  uploads_.Put(kAda, std::move(model), kNow);

  EXPECT_EQ(*uploads_.FindReceived(kAda, id, Duration(0)), 8u);
  EXPECT_EQ(*uploads_.FindReceived(kEve, id, Duration(0)), 0u);
}

TEST_F(UploadsTest, EndsATurnThatHasNotSaidItsModelYet) {
  std::optional<Uploads::Turn> turn = *Begin(kAda);

  EXPECT_FALSE(uploads_.FindReceived(kAda, kModel, Duration(0)).ok());

  EXPECT_EQ(num_cancelled_, 1);
  turn.reset();
  EXPECT_TRUE(uploads_.FindReceived(kAda, kModel, Duration(0)).ok());
}

TEST_F(UploadsTest, EndsATurnWithTheModelThatIsAskedForAndNoOther) {
  std::optional<Uploads::Turn> turn = *Begin(kAda);
  (void)turn->TakePartial(kModel);

  EXPECT_EQ(*uploads_.FindReceived(kAda, kOther, Duration(0)), 0u);
  EXPECT_EQ(num_cancelled_, 0);
  EXPECT_EQ(uploads_.FindReceived(kAda, kModel, Duration(0)).status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(num_cancelled_, 1);
  turn.reset();
  EXPECT_TRUE(uploads_.FindReceived(kAda, kModel, Duration(0)).ok());
}

}  // namespace
}  // namespace chorale::coordinator
