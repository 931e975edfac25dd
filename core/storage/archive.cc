#include "core/storage/archive.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <set>
#include <utility>

#include "core/storage/posix.h"

namespace chorale::storage {
namespace {

using internal::FileDescriptor;
using internal::SystemError;

constexpr std::string_view kMagic = "chorale-archive-1\n";
constexpr std::string_view kAnyMagic = "chorale-archive-";
constexpr std::size_t kPieceBytes = 1u << 20;
constexpr std::size_t kMaxNameChars = 255;
constexpr std::uint8_t kEntryMark = 'E';
constexpr std::uint8_t kEndMark = 'Z';

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

bool IsValidPart(std::string_view part) {
  return !part.empty() && part != "." && part != ".." &&
         std::all_of(part.begin(), part.end(), IsNameCharacter);
}

template <std::size_t kBytes>
std::array<std::uint8_t, kBytes> BigEndian(std::uint64_t value) {
  std::array<std::uint8_t, kBytes> bytes{};
  for (std::size_t i = kBytes; i-- > 0; value >>= 8) bytes[i] = static_cast<std::uint8_t>(value);
  return bytes;
}

std::uint64_t FromBigEndian(ByteSpan bytes) {
  std::uint64_t value = 0;
  for (const std::uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

}  // namespace

Status CheckArchiveName(std::string_view name) {
  std::string_view rest = name;
  while (true) {
    const std::size_t end = rest.find('/');
    if (!IsValidPart(rest.substr(0, end))) break;
    if (end == std::string_view::npos) {
      if (name.size() > kMaxNameChars) break;
      return OkStatus();
    }
    rest.remove_prefix(end + 1);
  }
  return InvalidArgument("an archive has no entry of such a name (" + std::to_string(name.size()) +
                         " characters)");
}

// ---- writing

struct ArchiveWriter::State {
  State(std::filesystem::path path, std::filesystem::path temporary, FileDescriptor opened)
      : final_path(std::move(path)),
        temporary_path(std::move(temporary)),
        file(std::move(opened)) {}
  ~State() {
    if (!is_committed) ::unlink(temporary_path.c_str());
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Status Write(ByteSpan bytes) {
    hasher.Update(bytes);
    return internal::WriteAll(file.fd(), bytes, temporary_path);
  }

  Status BeginEntry(std::string_view name, std::uint64_t size_bytes) {
    CHORALE_RETURN_IF_ERROR(CheckArchiveName(name));
    if (!names.emplace(name).second) {
      return InvalidArgument("an archive has each entry once: " + std::string(name));
    }
    CHORALE_RETURN_IF_ERROR(Write(ByteSpan(&kEntryMark, 1)));
    CHORALE_RETURN_IF_ERROR(Write(BigEndian<2>(name.size())));
    CHORALE_RETURN_IF_ERROR(Write(AsBytes(name)));
    return Write(BigEndian<8>(size_bytes));
  }

  std::filesystem::path final_path;
  std::filesystem::path temporary_path;
  FileDescriptor file;
  crypto::Sha256Hasher hasher;
  std::set<std::string, std::less<>> names;
  bool is_committed = false;
};

ArchiveWriter::ArchiveWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
ArchiveWriter::ArchiveWriter(ArchiveWriter&& other) noexcept = default;
ArchiveWriter& ArchiveWriter::operator=(ArchiveWriter&& other) noexcept = default;
ArchiveWriter::~ArchiveWriter() = default;

StatusOr<ArchiveWriter> ArchiveWriter::Create(const std::filesystem::path& path, ByteSpan header) {
  if (header.size() > kMaxArchiveHeaderBytes) {
    return InvalidArgument("an archive's header must have at most " +
                           std::to_string(kMaxArchiveHeaderBytes) + " bytes, got " +
                           std::to_string(header.size()));
  }
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    return AlreadyExists(path.string() + " exists already and was left as it is");
  }
  std::filesystem::path temporary;
  CHORALE_ASSIGN_OR_RETURN(
      FileDescriptor file,
      internal::CreateTemporary(internal::DirectoryOf(path), ".archive-", temporary));
  auto state = std::make_unique<State>(path, std::move(temporary), std::move(file));
  CHORALE_RETURN_IF_ERROR(state->Write(AsBytes(kMagic)));
  CHORALE_RETURN_IF_ERROR(state->Write(BigEndian<4>(header.size())));
  CHORALE_RETURN_IF_ERROR(state->Write(header));
  return ArchiveWriter(std::move(state));
}

Status ArchiveWriter::AddFile(std::string_view name, const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(const internal::FileToRead source,
                           internal::OpenToRead(path, O_NOFOLLOW));
  const FileDescriptor& file = source.file;
  std::uint64_t left = source.size_bytes;
  CHORALE_RETURN_IF_ERROR(state_->BeginEntry(name, left));
  Bytes piece(static_cast<std::size_t>(std::min<std::uint64_t>(left, kPieceBytes)));
  while (left > 0) {
    const std::size_t wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.size()));
    const ssize_t size = ::read(file.fd(), piece.data(), wanted);
    if (size < 0) {
      if (errno == EINTR) continue;
      return SystemError(errno, "read", path);
    }
    if (size == 0) return DataLoss(path.string() + " became shorter while it was read");
    CHORALE_RETURN_IF_ERROR(state_->Write(ByteSpan(piece).first(static_cast<std::size_t>(size))));
    left -= static_cast<std::uint64_t>(size);
  }
  return OkStatus();
}

Status ArchiveWriter::AddBytes(std::string_view name, ByteSpan bytes) {
  CHORALE_RETURN_IF_ERROR(state_->BeginEntry(name, bytes.size()));
  return state_->Write(bytes);
}

StatusOr<crypto::Digest> ArchiveWriter::Commit() && {
  const std::unique_ptr<State> state = std::move(state_);
  CHORALE_RETURN_IF_ERROR(state->Write(ByteSpan(&kEndMark, 1)));
  CHORALE_RETURN_IF_ERROR(state->Write(BigEndian<8>(state->names.size())));
  const crypto::Digest digest = std::move(state->hasher).Finish();
  CHORALE_RETURN_IF_ERROR(internal::WriteAll(state->file.fd(), digest, state->temporary_path));
  if (::fsync(state->file.fd()) != 0) return SystemError(errno, "sync", state->temporary_path);
  // link, unlike rename, does not replace what somebody else put there meanwhile.
  if (::link(state->temporary_path.c_str(), state->final_path.c_str()) != 0) {
    if (errno == EEXIST) {
      return AlreadyExists(state->final_path.string() + " exists already and was left as it is");
    }
    return SystemError(errno, "create", state->final_path);
  }
  ::unlink(state->temporary_path.c_str());
  state->is_committed = true;
  CHORALE_RETURN_IF_ERROR(internal::SyncDirectory(internal::DirectoryOf(state->final_path)));
  return digest;
}

// ---- reading

namespace {

// Reads from the front, and hashes what it reads.
class Source {
 public:
  Source(std::filesystem::path path, FileDescriptor file)
      : path_(std::move(path)), file_(std::move(file)) {}

  // Fills `out`. DATA_LOSS at the end of the file.
  Status Read(std::span<std::uint8_t> out) {
    CHORALE_RETURN_IF_ERROR(ReadRaw(out));
    hasher_.Update(out);
    return OkStatus();
  }
  Status ReadRaw(std::span<std::uint8_t> out) {
    while (!out.empty()) {
      const ssize_t size = ::read(file_.fd(), out.data(), out.size());
      if (size < 0) {
        if (errno == EINTR) continue;
        return SystemError(errno, "read", path_);
      }
      if (size == 0) return Damaged("it is cut short");
      out = out.subspan(static_cast<std::size_t>(size));
    }
    return OkStatus();
  }
  template <std::size_t kBytes>
  StatusOr<std::uint64_t> ReadNumber() {
    std::array<std::uint8_t, kBytes> bytes{};
    CHORALE_RETURN_IF_ERROR(Read(bytes));
    return FromBigEndian(bytes);
  }
  StatusOr<bool> IsAtEnd() {
    std::uint8_t byte = 0;
    while (true) {
      const ssize_t size = ::read(file_.fd(), &byte, 1);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return SystemError(errno, "read", path_);
      return size == 0;
    }
  }
  crypto::Digest Finish() { return std::move(hasher_).Finish(); }
  [[nodiscard]] Status Damaged(std::string_view what) const {
    return DataLoss(path_.string() + " is damaged: " + std::string(what));
  }

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  crypto::Sha256Hasher hasher_;
};

Status ReadHeader(Source& source, const std::filesystem::path& path, ArchiveVisitor& visitor) {
  std::string magic(kMagic.size(), '\0');
  CHORALE_RETURN_IF_ERROR(
      source.Read({reinterpret_cast<std::uint8_t*>(magic.data()), magic.size()}));
  if (magic != kMagic) {
    if (magic.starts_with(kAnyMagic) && magic.back() == '\n') {
      return FailedPrecondition(path.string() + " was written by a newer version of this program");
    }
    return DataLoss(path.string() + " is no archive of chorale");
  }
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t size, source.ReadNumber<4>());
  if (size > kMaxArchiveHeaderBytes) return source.Damaged("its header is too large");
  Bytes header(size);
  CHORALE_RETURN_IF_ERROR(source.Read(header));
  return visitor.OnHeader(header);
}

Status ReadEntry(Source& source, std::set<std::string>& names, ArchiveVisitor& visitor) {
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t name_size, source.ReadNumber<2>());
  std::string name(name_size, '\0');
  CHORALE_RETURN_IF_ERROR(source.Read({reinterpret_cast<std::uint8_t*>(name.data()), name.size()}));
  if (!CheckArchiveName(name).ok() || !names.insert(name).second) {
    return source.Damaged("an entry has no name that it may have");
  }
  CHORALE_ASSIGN_OR_RETURN(std::uint64_t left, source.ReadNumber<8>());
  CHORALE_RETURN_IF_ERROR(visitor.OnEntry(name, left));
  Bytes piece;
  while (left > 0) {
    piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(left, kPieceBytes)));
    CHORALE_RETURN_IF_ERROR(source.Read(piece));
    CHORALE_RETURN_IF_ERROR(visitor.OnPiece(piece));
    left -= piece.size();
  }
  return OkStatus();
}

}  // namespace

StatusOr<crypto::Digest> ReadArchive(const std::filesystem::path& path, ArchiveVisitor& visitor) {
  CHORALE_ASSIGN_OR_RETURN(internal::FileToRead opened, internal::OpenToRead(path));
  Source source(path, std::move(opened.file));
  CHORALE_RETURN_IF_ERROR(ReadHeader(source, path, visitor));
  std::set<std::string> names;
  while (true) {
    CHORALE_ASSIGN_OR_RETURN(const std::uint64_t mark, source.ReadNumber<1>());
    if (mark == kEndMark) break;
    if (mark != kEntryMark) return source.Damaged("an entry does not begin where it should");
    CHORALE_RETURN_IF_ERROR(ReadEntry(source, names, visitor));
  }
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t count, source.ReadNumber<8>());
  const crypto::Digest computed = source.Finish();
  crypto::Digest told{};
  CHORALE_RETURN_IF_ERROR(source.ReadRaw(told));
  if (count != names.size() || told != computed) {
    return source.Damaged("its content does not fit the digest that it ends with");
  }
  CHORALE_ASSIGN_OR_RETURN(const bool is_at_end, source.IsAtEnd());
  if (!is_at_end) return source.Damaged("something follows its end");
  return computed;
}

}  // namespace chorale::storage
