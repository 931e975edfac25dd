#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/status.h"

// Blobs by digest, one file each: <directory>/<hex of digest>. Written once, never changed; safe
// for concurrent use. One process at a time opens a directory (see DirectoryLock): opening removes
// what is half written.
namespace chorale::storage {

// Reads one blob without holding it in memory. Safe for concurrent use.
class BlobReader {
 public:
  BlobReader(BlobReader&& other) noexcept;
  BlobReader& operator=(BlobReader&& other) noexcept;
  ~BlobReader();
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  // Fills `out` from `offset_bytes` on. DATA_LOSS when the file is shorter than the blob.
  [[nodiscard]] Status ReadAt(std::uint64_t offset_bytes, std::span<std::uint8_t> out) const;

 private:
  friend class BlobStore;
  BlobReader(int fd, std::uint64_t size_bytes) : fd_(fd), size_bytes_(size_bytes) {}
  int fd_;
  std::uint64_t size_bytes_;
};

// Reads a blob from end to end. DATA_LOSS: it is not what its name says.
[[nodiscard]] Status CheckContent(const BlobReader& reader, const crypto::BlobId& id);

// Takes chunks in order into a temporary file. What is not committed is removed. Not thread-safe.
class BlobWriter {
 public:
  BlobWriter(BlobWriter&& other) noexcept;
  BlobWriter& operator=(BlobWriter&& other) noexcept;
  ~BlobWriter();
  // Appends the next chunk. REQUIRES: every chunk but the last has kChunkBytes. RESOURCE_EXHAUSTED:
  // disk full.
  [[nodiscard]] Status Append(ByteSpan chunk);
  [[nodiscard]] std::uint64_t size_bytes() const;
  // Durable when this returns OK. DATA_LOSS, and nothing is kept, when the content is not
  // `expected`.
  [[nodiscard]] Status Commit(const crypto::BlobId& expected) &&;
  // Names what was written, whatever it is; scratch by chance, and not durable.
  [[nodiscard]] StatusOr<crypto::BlobId> Commit() &&;

 private:
  friend class BlobStore;
  struct State;
  explicit BlobWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class BlobStore {
 public:
  // Creates the directory and removes what an earlier process left half written.
  [[nodiscard]] static StatusOr<BlobStore> Open(const std::filesystem::path& directory);
  // To read beside the process that has it open: removes nothing. A directory that is not there has
  // no blobs.
  [[nodiscard]] static BlobStore OpenReadOnly(std::filesystem::path directory) {
    return BlobStore(std::move(directory));
  }

  [[nodiscard]] StatusOr<BlobWriter> Create();
  // For what nobody needs once this process has ended: neither synced nor hashed.
  [[nodiscard]] StatusOr<BlobWriter> CreateScratch();
  // A small blob in one call: durable when this returns OK.
  [[nodiscard]] StatusOr<crypto::BlobId> Put(ByteSpan bytes);
  // NOT_FOUND. DATA_LOSS when the file's size is not the blob's.
  [[nodiscard]] StatusOr<BlobReader> Find(const crypto::BlobId& id) const;
  // The whole blob, digest checked. DATA_LOSS; RESOURCE_EXHAUSTED above `max_bytes`.
  [[nodiscard]] StatusOr<Bytes> Load(const crypto::BlobId& id, std::uint64_t max_bytes) const;
  // Removes a blob; absent is OK.
  Status Remove(const crypto::BlobId& id);
  // Bytes free for this process on the store's disk.
  [[nodiscard]] StatusOr<std::uint64_t> FreeBytes() const;

 private:
  explicit BlobStore(std::filesystem::path directory) : directory_(std::move(directory)) {}
  StatusOr<BlobWriter> CreateWriter(bool is_scratch);
  std::filesystem::path directory_;
};

}  // namespace chorale::storage
