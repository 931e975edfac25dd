#include "core/storage/blob_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "core/chunking.h"
#include "core/crypto/digest.h"
#include "core/crypto/random.h"
#include "core/storage/file.h"
#include "core/storage/posix.h"

namespace chorale::storage {
namespace {

using internal::FileDescriptor;
using internal::SystemError;

// No blob's name begins so: those are hexadecimal.
constexpr std::string_view kPartialPrefix = "partial-";

}  // namespace

// ---- BlobReader

BlobReader::BlobReader(BlobReader&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), size_bytes_(std::exchange(other.size_bytes_, 0)) {}

BlobReader& BlobReader::operator=(BlobReader&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
  }
  return *this;
}

BlobReader::~BlobReader() {
  if (fd_ >= 0) ::close(fd_);
}

Status BlobReader::ReadAt(std::uint64_t offset_bytes, std::span<std::uint8_t> out) const {
  if (offset_bytes > size_bytes_ || out.size() > size_bytes_ - offset_bytes) {
    return InvalidArgument("cannot read " + std::to_string(out.size()) + " bytes at " +
                           std::to_string(offset_bytes) + " of a blob of " +
                           std::to_string(size_bytes_));
  }
  while (!out.empty()) {
    const ssize_t size = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset_bytes));
    if (size < 0) {
      if (errno == EINTR) continue;
      return Unavailable("cannot read a blob: " + std::system_category().message(errno));
    }
    if (size == 0) {
      return DataLoss("a blob of " + std::to_string(size_bytes_) + " bytes ends at " +
                      std::to_string(offset_bytes) + ": its file was truncated");
    }
    out = out.subspan(static_cast<std::size_t>(size));
    offset_bytes += static_cast<std::uint64_t>(size);
  }
  return OkStatus();
}

// ---- BlobWriter

struct BlobWriter::State {
  State(std::filesystem::path store, std::filesystem::path name, FileDescriptor descriptor,
        bool scratch)
      : directory(std::move(store)),
        temporary(std::move(name)),
        file(std::move(descriptor)),
        is_scratch(scratch) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (!is_committed) ::unlink(temporary.c_str());
  }

  Status Persist(const crypto::BlobId& id);

  std::filesystem::path directory;
  std::filesystem::path temporary;
  FileDescriptor file;
  crypto::BlobHasher hasher;  // Of scratch it knows the size alone.
  const bool is_scratch;
  Status failure;  // A failed write leaves unknown bytes behind: nothing may follow it.
  bool is_committed = false;
};

Status BlobWriter::State::Persist(const crypto::BlobId& id) {
  CHORALE_RETURN_IF_ERROR(failure);
  if (!is_scratch && ::fdatasync(file.fd()) != 0) return SystemError(errno, "sync", temporary);
  // Replacing also heals a damaged copy of the same blob; readers of the old file keep it.
  const std::filesystem::path path = directory / ToHex(id.digest);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return SystemError(errno, "create", path);
  is_committed = true;
  return is_scratch ? OkStatus() : internal::SyncDirectory(directory);
}

BlobWriter::BlobWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
BlobWriter::BlobWriter(BlobWriter&& other) noexcept = default;
BlobWriter& BlobWriter::operator=(BlobWriter&& other) noexcept = default;
BlobWriter::~BlobWriter() = default;

Status BlobWriter::Append(ByteSpan chunk) {
  CHORALE_RETURN_IF_ERROR(state_->failure);
  if (chunk.empty() || chunk.size() > kChunkBytes) {
    return InvalidArgument("a chunk must have 1 to " + std::to_string(kChunkBytes) +
                           " bytes, got " + std::to_string(chunk.size()));
  }
  if (size_bytes() % kChunkBytes != 0) {
    return InvalidArgument("a chunk after one of less than " + std::to_string(kChunkBytes) +
                           " bytes");
  }
  state_->failure = internal::WriteAll(state_->file.fd(), chunk, state_->temporary);
  CHORALE_RETURN_IF_ERROR(state_->failure);
  const crypto::Digest digest = state_->is_scratch ? crypto::Digest{} : crypto::Sha256(chunk);
  state_->hasher.AddChunk(digest, chunk.size());
  return OkStatus();
}

std::uint64_t BlobWriter::size_bytes() const { return state_->hasher.size_bytes(); }

Status BlobWriter::Commit(const crypto::BlobId& expected) && {
  const std::unique_ptr<State> state = std::move(state_);
  CHORALE_RETURN_IF_ERROR(state->failure);
  const crypto::BlobId id = state->hasher.Finish();
  if (id != expected) {
    return DataLoss("the blob has " + std::to_string(id.size_bytes) + " bytes and digest " +
                    ToHex(id.digest) + ", expected " + std::to_string(expected.size_bytes) +
                    " bytes and " + ToHex(expected.digest));
  }
  return state->Persist(id);
}

StatusOr<crypto::BlobId> BlobWriter::Commit() && {
  const std::unique_ptr<State> state = std::move(state_);
  crypto::BlobId id = state->hasher.Finish();
  // A name that no content has.
  if (state->is_scratch) crypto::SecureRandom().Fill(id.digest);
  CHORALE_RETURN_IF_ERROR(state->Persist(id));
  return id;
}

// ---- BlobStore

Status CheckContent(const BlobReader& reader, const crypto::BlobId& id) {
  crypto::BlobHasher hasher;
  Bytes chunk;
  for (std::uint64_t i = 0; i < NumChunks(id.size_bytes); ++i) {
    const ChunkRange range = ChunkAt(id.size_bytes, i);
    chunk.resize(range.size_bytes);
    CHORALE_RETURN_IF_ERROR(reader.ReadAt(range.offset_bytes, chunk));
    hasher.AddChunk(crypto::Sha256(chunk), chunk.size());
  }
  if (hasher.Finish() == id) return OkStatus();
  return DataLoss("the content of blob " + ToHex(id.digest) + " does not fit its digest");
}

StatusOr<BlobStore> BlobStore::Open(const std::filesystem::path& directory) {
  CHORALE_RETURN_IF_ERROR(CreatePrivateDirectory(directory));
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!entry->path().filename().string().starts_with(kPartialPrefix)) continue;
    if (::unlink(entry->path().c_str()) != 0) return SystemError(errno, "remove", entry->path());
  }
  if (error) return SystemError(error.value(), "list", directory);
  return BlobStore(directory);
}

StatusOr<BlobWriter> BlobStore::Create() { return CreateWriter(/*is_scratch=*/false); }
StatusOr<BlobWriter> BlobStore::CreateScratch() { return CreateWriter(/*is_scratch=*/true); }

StatusOr<BlobWriter> BlobStore::CreateWriter(bool is_scratch) {
  std::filesystem::path temporary;
  CHORALE_ASSIGN_OR_RETURN(FileDescriptor file,
                           internal::CreateTemporary(directory_, kPartialPrefix, temporary));
  return BlobWriter(std::make_unique<BlobWriter::State>(directory_, std::move(temporary),
                                                        std::move(file), is_scratch));
}

StatusOr<crypto::BlobId> BlobStore::Put(ByteSpan bytes) {
  CHORALE_ASSIGN_OR_RETURN(BlobWriter writer, Create());
  while (!bytes.empty()) {
    const ByteSpan chunk = bytes.first(std::min<std::size_t>(bytes.size(), kChunkBytes));
    CHORALE_RETURN_IF_ERROR(writer.Append(chunk));
    bytes = bytes.subspan(chunk.size());
  }
  return std::move(writer).Commit();
}

StatusOr<BlobReader> BlobStore::Find(const crypto::BlobId& id) const {
  const std::filesystem::path path = directory_ / ToHex(id.digest);
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) {
    if (errno == ENOENT) return NotFound("no blob " + ToHex(id.digest));
    return SystemError(errno, "open", path);
  }
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0) return SystemError(errno, "examine", path);
  if (static_cast<std::uint64_t>(status.st_size) != id.size_bytes) {
    return DataLoss("blob " + ToHex(id.digest) + " must have " + std::to_string(id.size_bytes) +
                    " bytes, its file has " + std::to_string(status.st_size));
  }
  return BlobReader(file.Release(), id.size_bytes);
}

StatusOr<Bytes> BlobStore::Load(const crypto::BlobId& id, std::uint64_t max_bytes) const {
  if (id.size_bytes > max_bytes) {
    return ResourceExhausted("blob " + ToHex(id.digest) + " must have at most " +
                             std::to_string(max_bytes) + " bytes, got " +
                             std::to_string(id.size_bytes));
  }
  CHORALE_ASSIGN_OR_RETURN(const BlobReader reader, Find(id));
  Bytes bytes(id.size_bytes);
  CHORALE_RETURN_IF_ERROR(reader.ReadAt(0, bytes));
  if (crypto::IdentifyBlob(bytes) != id) {
    return DataLoss("the content of blob " + ToHex(id.digest) + " does not fit its digest");
  }
  return bytes;
}

Status BlobStore::Remove(const crypto::BlobId& id) {
  const std::filesystem::path path = directory_ / ToHex(id.digest);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return SystemError(errno, "remove", path);
  return OkStatus();
}

StatusOr<std::uint64_t> BlobStore::FreeBytes() const { return storage::FreeBytes(directory_); }

}  // namespace chorale::storage
