#include "coordinator/payload_store.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/chunking.h"
#include "core/storage/file.h"
#include "tests/support/temporary_directory.h"

namespace chorale::coordinator {
namespace {

class PayloadStoreTest : public testing::Test {
 protected:
  std::filesystem::path PathOf(const crypto::BlobId& id) const {
    return directory_.path() / "payloads" / ToHex(id.digest);
  }
  StatusOr<HeldPayload> Write(const Bytes& bytes) {
    PayloadWriter writer = *payloads_->Create(bytes.size());
    for (std::uint64_t i = 0; i < NumChunks(bytes.size()); ++i) {
      const ChunkRange range = ChunkAt(bytes.size(), i);
      const Status appended =
          writer.Append(ByteSpan(bytes).subspan(range.offset_bytes, range.size_bytes));
      if (!appended.ok()) return appended;
    }
    return std::move(writer).Commit(crypto::IdentifyBlob(bytes));
  }
  Bytes Read(const crypto::BlobId& id) const {
    const auto reader = payloads_->Find(id);
    EXPECT_TRUE(reader.ok()) << reader.status();
    Bytes bytes(reader->size_bytes());
    EXPECT_TRUE(reader->ReadAt(0, bytes).ok());
    return bytes;
  }

  const Bytes small_ = Bytes(1000, 7);
  const Bytes large_ = Bytes(kChunkBytes + 5, 9);
  support::TemporaryDirectory directory_{support::Medium::kMemory};
  std::unique_ptr<PayloadStore> payloads_ = *PayloadStore::Open(directory_.path() / "payloads");
};

TEST_F(PayloadStoreTest, HoldsSmallOnesInMemoryAndLargeOnesInFiles) {
  const HeldPayload small = *Write(small_);
  const HeldPayload large = *Write(large_);

  EXPECT_FALSE(std::filesystem::exists(PathOf(small.id())));
  EXPECT_TRUE(std::filesystem::exists(PathOf(large.id())));
  EXPECT_EQ(*small.bytes(), small_);
  EXPECT_EQ(large.bytes(), nullptr);
  EXPECT_EQ(Read(small.id()), small_);
  EXPECT_EQ(Read(large.id()), large_);
}

TEST_F(PayloadStoreTest, ScratchGoesWithItsHolder) {
  for (const Bytes& content : {small_, large_}) {
    StatusOr<PayloadWriter> writer = payloads_->CreateScratch(content.size());
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (std::size_t begin = 0; begin < content.size(); begin += kChunkBytes) {
      const std::size_t size = std::min<std::size_t>(kChunkBytes, content.size() - begin);
      ASSERT_TRUE(writer->Append(ByteSpan(content).subspan(begin, size)).ok());
    }
    crypto::BlobId id;
    {
      const StatusOr<HeldPayload> held = std::move(*writer).Commit();
      ASSERT_TRUE(held.ok()) << held.status();
      id = held->id();
      EXPECT_EQ(Read(id), content);
    }
    EXPECT_EQ(payloads_->Find(id).status().code(), StatusCode::kNotFound);
    EXPECT_FALSE(std::filesystem::exists(PathOf(id)));
  }
}

TEST_F(PayloadStoreTest, AFileThatTheDiskHasSpoiltIsNotUsedByTheNextProcess) {
  const crypto::BlobId id = [&] {
    const HeldPayload held = *Write(large_);
    payloads_->Keep(held.id(), nullptr);
    return held.id();
  }();
  Bytes spoiled = large_;
  spoiled[kChunkBytes] ^= 1;
  ASSERT_TRUE(storage::WriteFileAtomically(PathOf(id), spoiled, storage::FileMode::kPrivate).ok());

  payloads_ = *PayloadStore::Open(directory_.path() / "payloads");
  payloads_->Keep(id, nullptr);

  EXPECT_EQ(payloads_->Find(id).status().code(), StatusCode::kDataLoss);
  ASSERT_TRUE(storage::WriteFileAtomically(PathOf(id), large_, storage::FileMode::kPrivate).ok());
  EXPECT_EQ(Read(id), large_);
}

TEST_F(PayloadStoreTest, ForgetsWhatNobodyKept) {
  const crypto::BlobId small = Write(small_)->id();
  const crypto::BlobId large = Write(large_)->id();

  EXPECT_EQ(payloads_->Find(small).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(payloads_->Find(large).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(PathOf(large)));
}

TEST_F(PayloadStoreTest, KeepsUntilReleased) {
  crypto::BlobId id;
  {
    const HeldPayload held = *Write(large_);
    id = held.id();
    payloads_->Keep(id, held.bytes());
  }
  EXPECT_EQ(Read(id), large_);

  payloads_->Release(id);

  EXPECT_FALSE(std::filesystem::exists(PathOf(id)));
}

TEST_F(PayloadStoreTest, DoesNotRemoveWhatSomebodyElseHolds) {
  std::optional<HeldPayload> held = *Write(large_);
  payloads_->Keep(held->id(), nullptr);
  const HeldPayload again = *Write(large_);

  payloads_->Release(held->id());
  held.reset();

  EXPECT_EQ(Read(again.id()), large_);
}

TEST_F(PayloadStoreTest, HoldsAgainWhatIsKept) {
  for (const Bytes& bytes : {small_, large_}) {
    std::optional<HeldPayload> held = *Write(bytes);
    const crypto::BlobId id = held->id();
    payloads_->Keep(id, held->bytes());
    held.reset();
    {
      const auto again = payloads_->HoldKept(id);
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_EQ(again->id(), id);
      EXPECT_EQ(again->bytes() != nullptr, IsInline(id));
      payloads_->Release(id);
      EXPECT_EQ(Read(id), bytes);
    }
    EXPECT_EQ(payloads_->Find(id).status().code(), StatusCode::kNotFound);
    EXPECT_EQ(payloads_->HoldKept(id).status().code(), StatusCode::kNotFound);
  }
}

TEST_F(PayloadStoreTest, RefusesContentOfAnotherDigest) {
  for (const Bytes& bytes : {small_, large_}) {
    PayloadWriter writer = *payloads_->Create(bytes.size());
    for (std::uint64_t i = 0; i < NumChunks(bytes.size()); ++i) {
      const ChunkRange range = ChunkAt(bytes.size(), i);
      ASSERT_TRUE(
          writer.Append(ByteSpan(bytes).subspan(range.offset_bytes, range.size_bytes)).ok());
    }
    const crypto::BlobId other{.size_bytes = bytes.size(), .digest = {1}};

    EXPECT_EQ(std::move(writer).Commit(other).status().code(), StatusCode::kDataLoss);
    EXPECT_EQ(payloads_->Find(other).status().code(), StatusCode::kNotFound);
  }
}

TEST_F(PayloadStoreTest, BoundsASmallPayload) {
  PayloadWriter writer = *payloads_->Create(10);

  EXPECT_EQ(writer.Append(Bytes(kMaxInlineBytes + 1)).code(), StatusCode::kInvalidArgument);
}

TEST_F(PayloadStoreTest, RefusesToReadBeyondTheEnd) {
  const HeldPayload held = *Write(small_);
  Bytes out(10);

  EXPECT_EQ(payloads_->Find(held.id())->ReadAt(995, out).code(), StatusCode::kDataLoss);
  EXPECT_EQ(payloads_->Find(held.id())->ReadAt(~0ull, out).code(), StatusCode::kDataLoss);
}

TEST_F(PayloadStoreTest, SweepsFilesThatNoJobNames) {
  const HeldPayload held = *Write(large_);
  payloads_->Keep(held.id(), nullptr);
  const std::filesystem::path orphan =
      directory_.path() / "payloads" / std::string(2 * crypto::kDigestBytes, 'a');
  std::filesystem::copy_file(PathOf(held.id()), orphan);

  ASSERT_TRUE(payloads_->Sweep({held.id()}).ok());

  EXPECT_FALSE(std::filesystem::exists(orphan));
  EXPECT_EQ(Read(held.id()), large_);
}

TEST_F(PayloadStoreTest, UnloadsOnlyWhatNobodyHolds) {
  std::optional<HeldPayload> held = *Write(small_);
  const crypto::BlobId id = held->id();
  payloads_->Keep(id, held->bytes());

  payloads_->Unload(id);
  EXPECT_TRUE(payloads_->Find(id).ok());
  held.reset();
  payloads_->Unload(id);

  EXPECT_EQ(payloads_->Find(id).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace chorale::coordinator
