#include "core/rpc/chunks.h"

#include <string>
#include <utility>
#include <vector>

#include "core/chunking.h"
#include "core/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temporary_directory.h"

namespace chorale::rpc {
namespace {

using ::testing::HasSubstr;

Bytes RandomBytes(std::size_t size) {
  Bytes bytes(size);
  SeededRandom(3).Fill(bytes);
  return bytes;
}

std::vector<v1::Chunk> Collect(ByteSpan bytes) {
  std::vector<v1::Chunk> chunks;
  EXPECT_TRUE(SendBytes(bytes, [&chunks](v1::Chunk&& chunk) {
                chunks.push_back(std::move(chunk));
                return true;
              }).ok());
  return chunks;
}

TEST(ChunksTest, ConvertsDescriptors) {
  const crypto::BlobId id = crypto::IdentifyBlob(RandomBytes(10));

  EXPECT_EQ(*FromProto(ToProto(id)), id);
  v1::BlobDescriptor descriptor = ToProto(id);
  descriptor.mutable_digest()->pop_back();
  EXPECT_EQ(FromProto(descriptor).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FromProto({}).status().code(), StatusCode::kInvalidArgument);
}

TEST(ChunksTest, SendsBytesThatTheReceiverAccepts) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{kChunkBytes},
                                 2 * std::size_t{kChunkBytes} + 17}) {
    const Bytes bytes = RandomBytes(size);
    ChunkReceiver receiver(crypto::IdentifyBlob(bytes));
    std::string received;

    for (const v1::Chunk& chunk : Collect(bytes)) {
      ASSERT_TRUE(receiver.Accept(chunk).ok());
      received += chunk.data();
    }

    EXPECT_TRUE(receiver.Finish().ok());
    EXPECT_EQ(received, AsText(bytes));
    EXPECT_EQ(receiver.received_bytes(), size);
  }
}

class SendBlobTest : public ::testing::Test {
 protected:
  std::vector<v1::Chunk> Send(std::uint64_t offset_bytes) {
    std::vector<v1::Chunk> chunks;
    status_ = SendBlob(reader_, offset_bytes, [&chunks](v1::Chunk&& chunk) {
      chunks.push_back(std::move(chunk));
      return true;
    });
    return chunks;
  }

  support::TemporaryDirectory directory_;
  storage::BlobStore store_ = *storage::BlobStore::Open(directory_.path() / "blobs");
  Bytes bytes_ = RandomBytes(2 * kChunkBytes + 100);
  crypto::BlobId id_ = *store_.Put(bytes_);
  storage::BlobReader reader_ = *store_.Find(id_);
  Status status_;
};

TEST_F(SendBlobTest, SendsWhatSendBytesWould) {
  const std::vector<v1::Chunk> chunks = Send(0);

  ASSERT_TRUE(status_.ok());
  const std::vector<v1::Chunk> expected = Collect(bytes_);
  ASSERT_EQ(chunks.size(), expected.size());
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    EXPECT_EQ(chunks[i].SerializeAsString(), expected[i].SerializeAsString());
  }
}

TEST_F(SendBlobTest, ResumesAtAChunk) {
  ChunkReceiver receiver(id_);
  ASSERT_TRUE(receiver.Accept(Send(0).front()).ok());

  for (const v1::Chunk& chunk : Send(receiver.received_bytes())) {
    ASSERT_TRUE(receiver.Accept(chunk).ok());
  }

  EXPECT_TRUE(receiver.Finish().ok());
}

TEST_F(SendBlobTest, RefusesAnOffsetThatIsNoChunks) {
  for (const std::uint64_t offset :
       {std::uint64_t{1}, std::uint64_t{kChunkBytes - 1}, 3 * std::uint64_t{kChunkBytes},
        ~std::uint64_t{0}, std::uint64_t{1} << 63}) {
    EXPECT_TRUE(Send(offset).empty());
    EXPECT_EQ(status_.code(), StatusCode::kInvalidArgument) << offset;
  }
}

TEST_F(SendBlobTest, StopsWhenThePeerIsGone) {
  int num_written = 0;

  const Status status = SendBlob(reader_, 0, [&num_written](v1::Chunk&&) {
    ++num_written;
    return false;
  });

  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(num_written, 1);
}

class ChunkReceiverTest : public ::testing::Test {
 protected:
  Bytes bytes_ = RandomBytes(2 * kChunkBytes + 5);
  std::vector<v1::Chunk> chunks_ = Collect(bytes_);
  ChunkReceiver receiver_{crypto::IdentifyBlob(bytes_)};
};

TEST_F(ChunkReceiverTest, RefusesAChunkOutOfOrder) {
  const Status refused = receiver_.Accept(chunks_[1]);

  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(refused), HasSubstr("chunk.offset_bytes must be 0, got 1048576"));
}

TEST_F(ChunkReceiverTest, RefusesAChunkThatComesTwice) {
  ASSERT_TRUE(receiver_.Accept(chunks_[0]).ok());

  EXPECT_EQ(receiver_.Accept(chunks_[0]).code(), StatusCode::kInvalidArgument);
}

TEST_F(ChunkReceiverTest, RefusesAChunkOfAWrongSize) {
  v1::Chunk shorter = chunks_[0];
  shorter.mutable_data()->pop_back();
  v1::Chunk longer = chunks_[0];
  longer.mutable_data()->push_back('x');
  v1::Chunk empty = chunks_[0];
  empty.clear_data();

  for (const v1::Chunk& wrong : {shorter, longer, empty, v1::Chunk()}) {
    EXPECT_EQ(receiver_.Accept(wrong).code(), StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(receiver_.Accept(chunks_[0]).ok());
}

TEST_F(ChunkReceiverTest, RefusesAChunkThatDoesNotFitItsDigest) {
  v1::Chunk spoilt = chunks_[0];
  spoilt.mutable_data()->front() ^= 1;

  EXPECT_EQ(receiver_.Accept(spoilt).code(), StatusCode::kDataLoss);
  EXPECT_EQ(receiver_.received_bytes(), 0u);
}

TEST_F(ChunkReceiverTest, RefusesADigestOfAWrongLength) {
  v1::Chunk wrong = chunks_[0];
  wrong.mutable_sha256()->push_back('x');

  EXPECT_EQ(receiver_.Accept(wrong).code(), StatusCode::kInvalidArgument);
}

TEST_F(ChunkReceiverTest, RefusesAnythingAfterTheLastChunk) {
  for (const v1::Chunk& chunk : chunks_) ASSERT_TRUE(receiver_.Accept(chunk).ok());
  v1::Chunk more = Collect(AsBytes("x")).front();
  more.set_offset_bytes(bytes_.size());

  EXPECT_EQ(receiver_.Accept(more).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(receiver_.Finish().ok());
}

TEST_F(ChunkReceiverTest, MissesChunksThatDidNotCome) {
  EXPECT_EQ(receiver_.Finish().code(), StatusCode::kDataLoss);
  ASSERT_TRUE(receiver_.Accept(chunks_[0]).ok());
  EXPECT_EQ(receiver_.Finish().code(), StatusCode::kDataLoss);
}

TEST_F(ChunkReceiverTest, RefusesSoundChunksOfAnotherBlob) {
  Bytes other = bytes_;
  other.back() ^= 1;

  for (const v1::Chunk& chunk : Collect(other)) ASSERT_TRUE(receiver_.Accept(chunk).ok());

  EXPECT_EQ(receiver_.Finish().code(), StatusCode::kDataLoss);
}

TEST_F(ChunkReceiverTest, TakesAnAbsurdSizeWithoutReservingIt) {
  ChunkReceiver receiver({.size_bytes = ~std::uint64_t{0}, .digest = {}});

  ASSERT_TRUE(receiver.Accept(chunks_[0]).ok());

  EXPECT_EQ(receiver.Finish().code(), StatusCode::kDataLoss);
}

// Whatever a peer does to a small blob's only chunk, the receiver refuses it or the content is
// untouched.
TEST(ChunkReceiverMutationTest, AcceptsNothingButTheBlob) {
  const Bytes bytes = RandomBytes(64);
  const std::string sound = Collect(bytes).front().SerializeAsString();
  SeededRandom random(5);
  int num_parsed = 0;

  for (int i = 0; i < 5'000; ++i) {
    std::string text = sound;
    const std::uint64_t num_changes = 1 + random.NextBelow(3);
    for (std::uint64_t change = 0; change < num_changes; ++change) {
      text[random.NextBelow(text.size())] = static_cast<char>(random.NextBelow(256));
    }
    if (random.NextBelow(4) == 0) text.resize(random.NextBelow(text.size()) + 1);
    v1::Chunk chunk;
    if (!chunk.ParseFromString(text)) continue;
    ++num_parsed;
    ChunkReceiver receiver(crypto::IdentifyBlob(bytes));
    if (receiver.Accept(chunk).ok() && receiver.Finish().ok()) {
      EXPECT_EQ(chunk.data(), AsText(bytes));
    }
  }

  EXPECT_GT(num_parsed, 1'000);
}

}  // namespace
}  // namespace chorale::rpc
