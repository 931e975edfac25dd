#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "core/bytes.h"
#include "core/chunking.h"
#include "core/crypto/blob_digest.h"
#include "core/status.h"
#include "core/storage/blob_store.h"

// Models and updates on their way. A payload of up to kMaxInlineBytes is held in memory and kept by
// the JobStore, in the transaction of the event that names it; a larger one is a file of the
// BlobStore.
namespace chorale::coordinator {

inline constexpr std::uint64_t kMaxInlineBytes = 64 * 1024;

[[nodiscard]] inline bool IsInline(const crypto::BlobId& id) {
  return id.size_bytes <= kMaxInlineBytes;
}

// Reads a payload wherever it is. Safe for concurrent use.
class PayloadReader {
 public:
  // shared_ptr: the store and any number of calls under way hold the same small payload.
  explicit PayloadReader(std::shared_ptr<const Bytes> bytes) : source_(std::move(bytes)) {}
  explicit PayloadReader(storage::BlobReader reader) : source_(std::move(reader)) {}

  [[nodiscard]] std::uint64_t size_bytes() const;
  // DATA_LOSS when the payload is shorter.
  [[nodiscard]] Status ReadAt(std::uint64_t offset_bytes, std::span<std::uint8_t> out) const;

  // The bytes of a small payload; null for a file.
  [[nodiscard]] const Bytes* bytes() const;
  // REQUIRES: bytes() is null.
  [[nodiscard]] const storage::BlobReader& file() const {
    return std::get<storage::BlobReader>(source_);
  }

 private:
  std::variant<std::shared_ptr<const Bytes>, storage::BlobReader> source_;
};

class PayloadStore;

// A payload that is written and not yet kept. Unless Keep is told, it goes when this goes.
class HeldPayload {
 public:
  HeldPayload(HeldPayload&& other) noexcept;
  HeldPayload& operator=(HeldPayload&& other) noexcept;
  ~HeldPayload();
  [[nodiscard]] const crypto::BlobId& id() const { return id_; }
  // What the JobStore keeps; null for a file.
  [[nodiscard]] const std::shared_ptr<const Bytes>& bytes() const { return bytes_; }

 private:
  friend class PayloadStore;
  HeldPayload(PayloadStore& store, const crypto::BlobId& id) : store_(&store), id_(id) {}
  PayloadStore* store_;
  crypto::BlobId id_;
  std::shared_ptr<const Bytes> bytes_;
};

// Takes chunks in order. Not thread-safe.
class PayloadWriter {
 public:
  // REQUIRES: every chunk but the last has kChunkBytes; together no more than the size told.
  // RESOURCE_EXHAUSTED: disk full.
  [[nodiscard]] Status Append(ByteSpan chunk);
  // DATA_LOSS, and nothing is kept, when the content is not `expected`.
  [[nodiscard]] StatusOr<HeldPayload> Commit(const crypto::BlobId& expected) &&;
  // Names what was written, whatever it is.
  [[nodiscard]] StatusOr<HeldPayload> Commit() &&;

 private:
  friend class PayloadStore;
  PayloadWriter(PayloadStore& store, std::optional<storage::BlobWriter> file)
      : store_(&store), file_(std::move(file)) {}
  PayloadStore* store_;
  Bytes bytes_;
  std::optional<storage::BlobWriter> file_;
};

// Safe for concurrent use. Must outlive what it hands out.
class PayloadStore {
 public:
  [[nodiscard]] static StatusOr<std::unique_ptr<PayloadStore>> Open(
      const std::filesystem::path& directory);

  [[nodiscard]] StatusOr<PayloadWriter> Create(std::uint64_t size_bytes);
  // For what one piece of work leaves to the next and nobody keeps: a file of it is not synced and
  // named by chance, not by content; Commit() it without an id.
  [[nodiscard]] StatusOr<PayloadWriter> CreateScratch(std::uint64_t size_bytes);
  // NOT_FOUND when it is not kept or held. DATA_LOSS: a file is damaged; one that an earlier
  // process wrote is read from end to end once, which takes its time.
  [[nodiscard]] StatusOr<PayloadReader> Find(const crypto::BlobId& id) const;

  // Holds what is kept or held already, so that it stays for this holder too. NOT_FOUND.
  [[nodiscard]] StatusOr<HeldPayload> HoldKept(const crypto::BlobId& id);

  // The JobStore keeps it from here on; `bytes` for a small one.
  void Keep(const crypto::BlobId& id, std::shared_ptr<const Bytes> bytes);
  // The JobStore does not keep it any more: removed once nobody holds it.
  void Release(const crypto::BlobId& id);
  // The memory of a small payload is not needed any more; the JobStore still keeps it.
  void Unload(const crypto::BlobId& id);
  // Removes files that are not in `kept`: a crash came between writing and keeping. Call once,
  // before any other.
  [[nodiscard]] Status Sweep(const std::vector<crypto::BlobId>& kept);
  [[nodiscard]] StatusOr<std::uint64_t> FreeBytes() const { return files_.FreeBytes(); }

 private:
  friend class HeldPayload;
  friend class PayloadWriter;
  struct Entry {
    std::uint64_t size_bytes = 0;
    std::shared_ptr<const Bytes> bytes;
    int num_holders = 0;
    bool is_kept = false;
    bool is_sound = false;  // Written by this process, or checked by it.
  };

  PayloadStore(std::filesystem::path directory, storage::BlobStore files)
      : directory_(std::move(directory)), files_(std::move(files)) {}
  // A file, checked against its digest unless that was done before.
  [[nodiscard]] StatusOr<storage::BlobReader> FindFile(const crypto::BlobId& id) const;
  HeldPayload Hold(const crypto::BlobId& id, std::shared_ptr<const Bytes> bytes);
  void EndHold(const crypto::BlobId& id);
  void RemoveIfUnused(const crypto::BlobId& id);  // REQUIRES: mutex_ held.

  const std::filesystem::path directory_;
  mutable std::mutex
      mutex_;  // Guards entries_, and files from removal while somebody begins to hold them.
  mutable std::map<crypto::Digest, Entry> entries_;
  storage::BlobStore files_;
};

// Writes all of `bytes`. RESOURCE_EXHAUSTED: disk full. CANCELLED, where `cancelled` is given and
// becomes true meanwhile.
[[nodiscard]] StatusOr<HeldPayload> Write(PayloadStore& payloads, ByteSpan bytes,
                                          const std::atomic<bool>* cancelled = nullptr);

}  // namespace chorale::coordinator
