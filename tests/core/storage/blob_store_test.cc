#include "core/storage/blob_store.h"

#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "core/chunking.h"
#include "core/random.h"
#include "gtest/gtest.h"
#include "tests/core/storage/file_size_limit.h"
#include "tests/support/temporary_directory.h"

namespace chorale::storage {
namespace {

Bytes RandomBytes(std::size_t size) {
  Bytes bytes(size);
  SeededRandom(7).Fill(bytes);
  return bytes;
}

class BlobStoreTest : public ::testing::Test {
 protected:
  [[nodiscard]] BlobStore Open() const {
    StatusOr<BlobStore> store = BlobStore::Open(path());
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  [[nodiscard]] std::filesystem::path path() const { return directory_.path() / "blobs"; }
  [[nodiscard]] std::filesystem::path PathOf(const crypto::BlobId& id) const {
    return path() / ToHex(id.digest);
  }
  [[nodiscard]] std::size_t NumFiles() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path()),
                                                  std::filesystem::directory_iterator()));
  }
  support::TemporaryDirectory directory_;
};

TEST_F(BlobStoreTest, LoadsWhatWasPut) {
  BlobStore store = Open();
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{kChunkBytes},
                                 std::size_t{kChunkBytes} + 1, 3 * std::size_t{kChunkBytes}}) {
    const Bytes bytes = RandomBytes(size);

    const StatusOr<crypto::BlobId> id = store.Put(bytes);

    ASSERT_TRUE(id.ok()) << id.status();
    EXPECT_EQ(*id, crypto::IdentifyBlob(bytes));
    EXPECT_EQ(*store.Load(*id, size), bytes);
  }
}

TEST_F(BlobStoreTest, FindsABlobAfterOpeningAgain) {
  const Bytes bytes = RandomBytes(1000);
  crypto::BlobId id;
  {
    BlobStore store = Open();
    id = *store.Put(bytes);
  }

  EXPECT_EQ(*Open().Load(id, 1000), bytes);
}

TEST_F(BlobStoreTest, DoesNotFindWhatIsNotThere) {
  EXPECT_EQ(Open().Find(crypto::IdentifyBlob(RandomBytes(5))).status().code(),
            StatusCode::kNotFound);
}

TEST_F(BlobStoreTest, ReadsPiecesAtAnyOffset) {
  BlobStore store = Open();
  const Bytes bytes = RandomBytes(kChunkBytes + 100);
  const StatusOr<BlobReader> reader = store.Find(*store.Put(bytes));
  ASSERT_TRUE(reader.ok());
  Bytes piece(200);

  ASSERT_TRUE(reader->ReadAt(kChunkBytes - 100, piece).ok());

  EXPECT_TRUE(std::equal(piece.begin(), piece.end(), bytes.begin() + kChunkBytes - 100));
  EXPECT_EQ(reader->ReadAt(kChunkBytes - 99, piece).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(reader->ReadAt(~std::uint64_t{0}, piece).code(), StatusCode::kInvalidArgument);
}

TEST_F(BlobStoreTest, CommitsAnExpectedBlobThatCameInChunks) {
  BlobStore store = Open();
  const Bytes bytes = RandomBytes(kChunkBytes + 5);
  StatusOr<BlobWriter> writer = store.Create();
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->Append(ByteSpan(bytes).first(kChunkBytes)).ok());
  ASSERT_TRUE(writer->Append(ByteSpan(bytes).subspan(kChunkBytes)).ok());
  EXPECT_EQ(writer->size_bytes(), bytes.size());

  const crypto::BlobId id = crypto::IdentifyBlob(bytes);
  ASSERT_TRUE((*std::move(writer)).Commit(id).ok());

  EXPECT_EQ(*store.Load(id, bytes.size()), bytes);
}

TEST_F(BlobStoreTest, KeepsNothingOfAnotherBlobThanExpected) {
  BlobStore store = Open();
  StatusOr<BlobWriter> writer = store.Create();
  ASSERT_TRUE(writer->Append(AsBytes("something else")).ok());

  const Status status = (*std::move(writer)).Commit(crypto::IdentifyBlob(AsBytes("expected")));

  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(NumFiles(), 0u);
}

TEST_F(BlobStoreTest, RemovesWhatIsNotCommitted) {
  BlobStore store = Open();
  {
    StatusOr<BlobWriter> writer = store.Create();
    ASSERT_TRUE(writer->Append(AsBytes("x")).ok());
    EXPECT_EQ(NumFiles(), 1u);
  }

  EXPECT_EQ(NumFiles(), 0u);
}

TEST_F(BlobStoreTest, NamesScratchByChanceAndReadsItBack) {
  BlobStore store = Open();
  const auto write = [&store](std::string_view text) {
    StatusOr<BlobWriter> writer = store.CreateScratch();
    EXPECT_TRUE(writer->Append(AsBytes(text)).ok());
    return *(*std::move(writer)).Commit();
  };
  const crypto::BlobId first = write("twice");
  const crypto::BlobId second = write("twice");

  EXPECT_NE(first, second);
  EXPECT_NE(first, crypto::IdentifyBlob(AsBytes("twice")));
  for (const crypto::BlobId& id : {first, second}) {
    const StatusOr<BlobReader> reader = store.Find(id);
    ASSERT_TRUE(reader.ok()) << reader.status();
    Bytes bytes(reader->size_bytes());
    ASSERT_TRUE(reader->ReadAt(0, bytes).ok());
    EXPECT_EQ(ToString(bytes), "twice");
    ASSERT_TRUE(store.Remove(id).ok());
  }
  EXPECT_EQ(NumFiles(), 0u);
}

TEST_F(BlobStoreTest, ScratchIsNoBlobThatAnybodyExpects) {
  BlobStore store = Open();
  StatusOr<BlobWriter> writer = store.CreateScratch();
  ASSERT_TRUE(writer->Append(AsBytes("x")).ok());

  EXPECT_EQ((*std::move(writer)).Commit(crypto::IdentifyBlob(AsBytes("x"))).code(),
            StatusCode::kDataLoss);
  EXPECT_EQ(NumFiles(), 0u);
}

TEST_F(BlobStoreTest, RemovesWhatADeadProcessLeftHalfWritten) {
  crypto::BlobId id;
  {
    BlobStore store = Open();
    id = *store.Put(AsBytes("kept"));
  }
  std::ofstream(path() / "partial-abc123") << "half";

  const BlobStore store = Open();

  EXPECT_EQ(NumFiles(), 1u);
  EXPECT_TRUE(store.Find(id).ok());
}

TEST_F(BlobStoreTest, RefusesChunksOfAWrongSize) {
  BlobStore store = Open();
  StatusOr<BlobWriter> writer = store.Create();
  const Bytes large(kChunkBytes + 1);

  EXPECT_EQ(writer->Append(large).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(writer->Append({}).code(), StatusCode::kInvalidArgument);
  ASSERT_TRUE(writer->Append(AsBytes("short, so the last")).ok());
  EXPECT_EQ(writer->Append(AsBytes("x")).code(), StatusCode::kInvalidArgument);
}

TEST_F(BlobStoreTest, NoticesAFlippedBit) {
  BlobStore store = Open();
  const crypto::BlobId id = *store.Put(RandomBytes(1000));
  {
    std::fstream file(PathOf(id), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(500);
    const char flipped = static_cast<char>(file.get() ^ 1);
    file.seekp(500);
    file.put(flipped);
  }

  EXPECT_EQ(store.Load(id, 1000).status().code(), StatusCode::kDataLoss);
}

TEST_F(BlobStoreTest, NoticesATruncatedFile) {
  BlobStore store = Open();
  const crypto::BlobId id = *store.Put(RandomBytes(1000));
  const StatusOr<BlobReader> open_before = store.Find(id);
  std::filesystem::resize_file(PathOf(id), 999);
  Bytes out(1000);

  EXPECT_EQ(store.Find(id).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(open_before->ReadAt(0, out).code(), StatusCode::kDataLoss);
}

TEST_F(BlobStoreTest, HealsADamagedFileWhenTheBlobIsPutAgain) {
  BlobStore store = Open();
  const Bytes bytes = RandomBytes(1000);
  const crypto::BlobId id = *store.Put(bytes);
  std::filesystem::resize_file(PathOf(id), 10);

  ASSERT_TRUE(store.Put(bytes).ok());

  EXPECT_EQ(*store.Load(id, 1000), bytes);
}

TEST_F(BlobStoreTest, RefusesToLoadMoreThanTheLimit) {
  BlobStore store = Open();
  const crypto::BlobId id = *store.Put(RandomBytes(1000));

  EXPECT_EQ(store.Load(id, 999).status().code(), StatusCode::kResourceExhausted);
}

TEST_F(BlobStoreTest, ReportsAFullDiskAndKeepsNothing) {
  BlobStore store = Open();
  Status appended;
  Status committed;
  {
    const FileSizeLimit limit(100'000);
    StatusOr<BlobWriter> writer = store.Create();
    ASSERT_TRUE(writer.ok());
    appended = writer->Append(RandomBytes(kChunkBytes));
    committed = (*std::move(writer)).Commit().status();
  }

  EXPECT_EQ(appended.code(), StatusCode::kResourceExhausted) << appended;
  EXPECT_EQ(committed.code(), StatusCode::kResourceExhausted) << committed;
  EXPECT_EQ(NumFiles(), 0u);
}

TEST_F(BlobStoreTest, RemovesABlobAndForgivesAnAbsentOne) {
  BlobStore store = Open();
  const crypto::BlobId id = *store.Put(AsBytes("x"));

  EXPECT_TRUE(store.Remove(id).ok());
  EXPECT_TRUE(store.Remove(id).ok());
  EXPECT_EQ(store.Find(id).status().code(), StatusCode::kNotFound);
}

TEST_F(BlobStoreTest, KeepsAnOpenReaderThroughRemoval) {
  BlobStore store = Open();
  const Bytes bytes = RandomBytes(100);
  const crypto::BlobId id = *store.Put(bytes);
  StatusOr<BlobReader> found = store.Find(id);
  const BlobReader reader = *std::move(found);
  ASSERT_TRUE(store.Remove(id).ok());
  Bytes out(100);

  EXPECT_TRUE(reader.ReadAt(0, out).ok());
  EXPECT_EQ(out, bytes);
}

TEST_F(BlobStoreTest, TellsTheFreeSpace) { EXPECT_GT(*Open().FreeBytes(), 0u); }

}  // namespace
}  // namespace chorale::storage
