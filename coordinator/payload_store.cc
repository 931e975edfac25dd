#include "coordinator/payload_store.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "core/log.h"

namespace chorale::coordinator {

// ---------------------------------------------------------------------------- PayloadReader

std::uint64_t PayloadReader::size_bytes() const {
  const Bytes* small = bytes();
  return small != nullptr ? small->size() : file().size_bytes();
}

Status PayloadReader::ReadAt(std::uint64_t offset_bytes, std::span<std::uint8_t> out) const {
  const Bytes* small = bytes();
  if (small == nullptr) return file().ReadAt(offset_bytes, out);
  if (offset_bytes > small->size() || out.size() > small->size() - offset_bytes) {
    return DataLoss("a payload of " + std::to_string(small->size()) + " bytes has none at " +
                    std::to_string(offset_bytes + out.size()));
  }
  if (!out.empty()) std::memcpy(out.data(), small->data() + offset_bytes, out.size());
  return OkStatus();
}

const Bytes* PayloadReader::bytes() const {
  const auto* small = std::get_if<std::shared_ptr<const Bytes>>(&source_);
  return small == nullptr ? nullptr : small->get();
}

// ---------------------------------------------------------------------------- HeldPayload

HeldPayload::HeldPayload(HeldPayload&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)),
      id_(other.id_),
      bytes_(std::move(other.bytes_)) {}

HeldPayload& HeldPayload::operator=(HeldPayload&& other) noexcept {
  if (this == &other) return *this;
  if (store_ != nullptr) store_->EndHold(id_);
  store_ = std::exchange(other.store_, nullptr);
  id_ = other.id_;
  bytes_ = std::move(other.bytes_);
  return *this;
}

HeldPayload::~HeldPayload() {
  if (store_ != nullptr) store_->EndHold(id_);
}

// ---------------------------------------------------------------------------- PayloadWriter

Status PayloadWriter::Append(ByteSpan chunk) {
  if (file_.has_value()) return file_->Append(chunk);
  if (bytes_.size() + chunk.size() > kMaxInlineBytes) {
    return InvalidArgument("a payload is larger than the size told: over " +
                           std::to_string(kMaxInlineBytes) + " bytes");
  }
  bytes_.insert(bytes_.end(), chunk.begin(), chunk.end());
  return OkStatus();
}

StatusOr<HeldPayload> PayloadWriter::Commit(const crypto::BlobId& expected) && {
  if (file_.has_value()) {
    // Held first, so that nobody removes a file of the same content while this one takes its place.
    HeldPayload held = store_->Hold(expected, nullptr);
    CHORALE_RETURN_IF_ERROR((*std::move(file_)).Commit(expected));
    return held;
  }
  if (crypto::IdentifyBlob(bytes_) != expected) {
    return DataLoss("a payload does not have the digest that was told");
  }
  return store_->Hold(expected, std::make_shared<const Bytes>(std::move(bytes_)));
}

StatusOr<HeldPayload> PayloadWriter::Commit() && {
  if (!file_.has_value()) {
    const crypto::BlobId id = crypto::IdentifyBlob(bytes_);
    return store_->Hold(id, std::make_shared<const Bytes>(std::move(bytes_)));
  }
  CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId id, (*std::move(file_)).Commit());
  HeldPayload held = store_->Hold(id, nullptr);
  // A payload of the same content may have been removed between the two lines above.
  CHORALE_RETURN_IF_ERROR(store_->Find(id).status());
  return held;
}

// ---------------------------------------------------------------------------- PayloadStore

StatusOr<std::unique_ptr<PayloadStore>> PayloadStore::Open(const std::filesystem::path& directory) {
  CHORALE_ASSIGN_OR_RETURN(storage::BlobStore files, storage::BlobStore::Open(directory));
  return std::unique_ptr<PayloadStore>(new PayloadStore(directory, std::move(files)));
}

StatusOr<PayloadWriter> PayloadStore::Create(std::uint64_t size_bytes) {
  if (size_bytes <= kMaxInlineBytes) return PayloadWriter(*this, std::nullopt);
  CHORALE_ASSIGN_OR_RETURN(storage::BlobWriter writer, files_.Create());
  return PayloadWriter(*this, std::move(writer));
}

StatusOr<PayloadWriter> PayloadStore::CreateScratch(std::uint64_t size_bytes) {
  if (size_bytes <= kMaxInlineBytes) return PayloadWriter(*this, std::nullopt);
  CHORALE_ASSIGN_OR_RETURN(storage::BlobWriter writer, files_.CreateScratch());
  return PayloadWriter(*this, std::move(writer));
}

StatusOr<storage::BlobReader> PayloadStore::FindFile(const crypto::BlobId& id) const {
  CHORALE_ASSIGN_OR_RETURN(storage::BlobReader reader, files_.Find(id));
  {
    const std::scoped_lock lock(mutex_);
    const auto entry = entries_.find(id.digest);
    if (entry == entries_.end() || entry->second.is_sound) return reader;
  }
  if (const Status sound = storage::CheckContent(reader, id); !sound.ok()) {
    return Annotate(sound, "the coordinator's disk has spoilt a payload");
  }
  const std::scoped_lock lock(mutex_);
  if (const auto entry = entries_.find(id.digest); entry != entries_.end()) {
    entry->second.is_sound = true;
  }
  return reader;
}

StatusOr<PayloadReader> PayloadStore::Find(const crypto::BlobId& id) const {
  if (!IsInline(id)) {
    CHORALE_ASSIGN_OR_RETURN(storage::BlobReader reader, FindFile(id));
    return PayloadReader(std::move(reader));
  }
  const std::scoped_lock lock(mutex_);
  const auto entry = entries_.find(id.digest);
  if (entry == entries_.end() || entry->second.bytes == nullptr) {
    return NotFound("no payload " + ToHex(id.digest).substr(0, 16) + " is kept");
  }
  return PayloadReader(entry->second.bytes);
}

StatusOr<HeldPayload> PayloadStore::HoldKept(const crypto::BlobId& id) {
  HeldPayload held(*this, id);
  {
    const std::scoped_lock lock(mutex_);
    const auto entry = entries_.find(id.digest);
    if (entry != entries_.end() && (!IsInline(id) || entry->second.bytes != nullptr)) {
      held.bytes_ = entry->second.bytes;
      ++entry->second.num_holders;
      return held;
    }
  }
  held.store_ = nullptr;  // It holds nothing.
  return NotFound("no payload " + ToHex(id.digest).substr(0, 16) + " is kept");
}

void PayloadStore::Keep(const crypto::BlobId& id, std::shared_ptr<const Bytes> bytes) {
  const std::scoped_lock lock(mutex_);
  Entry& entry = entries_[id.digest];
  entry.size_bytes = id.size_bytes;
  if (bytes != nullptr) entry.bytes = std::move(bytes);
  entry.is_kept = true;
}

void PayloadStore::Release(const crypto::BlobId& id) {
  const std::scoped_lock lock(mutex_);
  Entry& entry = entries_[id.digest];
  entry.size_bytes = id.size_bytes;
  entry.is_kept = false;
  RemoveIfUnused(id);
}

void PayloadStore::Unload(const crypto::BlobId& id) {
  const std::scoped_lock lock(mutex_);
  const auto entry = entries_.find(id.digest);
  if (entry == entries_.end() || entry->second.num_holders > 0 || !IsInline(id)) return;
  entries_.erase(entry);
}

Status PayloadStore::Sweep(const std::vector<crypto::BlobId>& kept) {
  std::set<std::string> names;
  for (const crypto::BlobId& id : kept) names.insert(ToHex(id.digest));
  std::error_code error;
  std::filesystem::directory_iterator entry(directory_, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const bool is_blob = name.size() == 2 * crypto::kDigestBytes && FromHex(name).ok();
    if (!is_blob || names.contains(name)) continue;
    std::error_code removal;
    std::filesystem::remove(entry->path(), removal);
    if (removal) log::Warning("payload.not_removed", {{"why", removal.message()}});
  }
  if (error) return Unavailable("cannot list " + directory_.string() + ": " + error.message());
  return OkStatus();
}

HeldPayload PayloadStore::Hold(const crypto::BlobId& id, std::shared_ptr<const Bytes> bytes) {
  HeldPayload held(*this, id);
  held.bytes_ = bytes;
  const std::scoped_lock lock(mutex_);
  Entry& entry = entries_[id.digest];
  entry.size_bytes = id.size_bytes;
  entry.is_sound = true;
  if (bytes != nullptr) entry.bytes = std::move(bytes);
  ++entry.num_holders;
  return held;
}

void PayloadStore::EndHold(const crypto::BlobId& id) {
  const std::scoped_lock lock(mutex_);
  const auto entry = entries_.find(id.digest);
  if (entry == entries_.end()) return;
  --entry->second.num_holders;
  RemoveIfUnused(id);
}

void PayloadStore::RemoveIfUnused(const crypto::BlobId& id) {
  const auto entry = entries_.find(id.digest);
  if (entry == entries_.end() || entry->second.is_kept || entry->second.num_holders > 0) return;
  entries_.erase(entry);
  if (IsInline(id)) return;
  if (const Status removed = files_.Remove(id); !removed.ok()) {
    log::Warning("payload.not_removed", {{"why", MessageOf(removed)}});
  }
}

StatusOr<HeldPayload> Write(PayloadStore& payloads, ByteSpan bytes,
                            const std::atomic<bool>* cancelled) {
  CHORALE_ASSIGN_OR_RETURN(PayloadWriter writer, payloads.Create(bytes.size()));
  for (std::uint64_t i = 0; i < NumChunks(bytes.size()); ++i) {
    if (cancelled != nullptr && *cancelled) return Cancelled("writing a payload was interrupted");
    const ChunkRange range = ChunkAt(bytes.size(), i);
    CHORALE_RETURN_IF_ERROR(writer.Append(bytes.subspan(range.offset_bytes, range.size_bytes)));
  }
  return std::move(writer).Commit();
}

}  // namespace chorale::coordinator
