#include "core/storage/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <utility>

#include "core/storage/posix.h"

namespace chorale::storage {
namespace {

using internal::DirectoryOf;
using internal::FileDescriptor;
using internal::SystemError;

constexpr std::string_view kLockName = "lock";

std::string OctalMode(mode_t mode) {
  char text[8];
  std::snprintf(text, sizeof(text), "%04o", static_cast<unsigned>(mode & 07777));
  return text;
}

Status WriteAndRename(FileDescriptor file, const std::filesystem::path& temporary,
                      const std::filesystem::path& path, ByteSpan bytes, FileMode mode) {
  CHORALE_RETURN_IF_ERROR(internal::WriteAll(file.fd(), bytes, path));
  if (::fchmod(file.fd(), static_cast<mode_t>(mode)) != 0) {
    return SystemError(errno, "set the mode of", path);
  }
  if (::fsync(file.fd()) != 0) return SystemError(errno, "sync", path);
  // Some disks (quotas, NFS) tell of a failed write only here.
  if (::close(file.Release()) != 0) return SystemError(errno, "close", path);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return SystemError(errno, "replace", path);
  return OkStatus();
}

// The process id that the holder left in the lock file; empty when it left none.
std::string HolderOf(int fd) {
  char text[24];
  const ssize_t size = ::pread(fd, text, sizeof(text), 0);
  long process = 0;
  if (size <= 0 || std::from_chars(text, text + size, process).ec != std::errc() || process <= 0) {
    return "";
  }
  return " (process " + std::to_string(process) + ")";
}

Status MakeDirectories(const std::filesystem::path& path) {
  std::filesystem::path made;
  for (const std::filesystem::path& part : path) {
    made /= part;
    if (::mkdir(made.c_str(), 0700) == 0) {
      CHORALE_RETURN_IF_ERROR(SyncDirectory(DirectoryOf(made)));
      continue;
    }
    const int error = errno;
    // An existing parent on a read-only or foreign disk gives EROFS or EACCES rather than EEXIST.
    struct stat status {};
    if (::stat(made.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) continue;
    return SystemError(error == EEXIST ? ENOTDIR : error, "create directory", made);
  }
  return OkStatus();
}

}  // namespace

Status WriteFileAtomically(const std::filesystem::path& path, ByteSpan bytes, FileMode mode) {
  const std::filesystem::path directory = DirectoryOf(path);
  std::filesystem::path temporary;
  CHORALE_ASSIGN_OR_RETURN(FileDescriptor file,
                           internal::CreateTemporary(directory, ".new-", temporary));
  if (Status written = WriteAndRename(std::move(file), temporary, path, bytes, mode);
      !written.ok()) {
    ::unlink(temporary.c_str());
    return written;
  }
  return SyncDirectory(directory);
}

StatusOr<std::string> ReadFile(const std::filesystem::path& path, std::uint64_t max_bytes) {
  CHORALE_ASSIGN_OR_RETURN(const internal::FileToRead opened, internal::OpenToRead(path));
  const FileDescriptor& file = opened.file;
  const Status too_large = ResourceExhausted(path.string() + " must have at most " +
                                             std::to_string(max_bytes) + " bytes");
  if (opened.size_bytes > max_bytes) return too_large;

  // The file may grow or shrink meanwhile: its end counts, not its size.
  std::string content;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t size = ::read(file.fd(), buffer, sizeof(buffer));
    if (size < 0) {
      if (errno == EINTR) continue;
      return SystemError(errno, "read", path);
    }
    if (size == 0) return content;
    if (content.size() + static_cast<std::size_t>(size) > max_bytes) return too_large;
    content.append(buffer, static_cast<std::size_t>(size));
  }
}

StatusOr<FileWriter> FileWriter::Create(const std::filesystem::path& path) {
  FileDescriptor file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (file.is_open()) return FileWriter(path, file.Release());
  if (errno == EEXIST) return AlreadyExists(path.string() + " exists already");
  return SystemError(errno, "create", path);
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

FileWriter& FileWriter::operator=(FileWriter&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    path_ = std::move(other.path_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) ::close(fd_);
}

Status FileWriter::Append(ByteSpan bytes) { return internal::WriteAll(fd_, bytes, path_); }

Status FileWriter::Close() && {
  if (::fsync(fd_) != 0) return SystemError(errno, "sync", path_);
  if (::close(std::exchange(fd_, -1)) != 0) return SystemError(errno, "close", path_);
  return SyncDirectory(DirectoryOf(path_));
}

StatusOr<std::uint64_t> FreeBytes(const std::filesystem::path& path) {
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0) return SystemError(errno, "examine", path);
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

Status SyncDirectory(const std::filesystem::path& directory) {
  return internal::SyncDirectory(directory);
}

Status CreatePrivateDirectory(const std::filesystem::path& path) {
  if (path.empty()) return InvalidArgument("the path of a directory must not be empty");
  CHORALE_RETURN_IF_ERROR(MakeDirectories(path));
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return SystemError(errno, "examine", path);
  if ((status.st_mode & 077) != 0) {
    return FailedPrecondition(path.string() + " is open to other users (mode " +
                              OctalMode(status.st_mode) + "); run: chmod 700 " + path.string());
  }
  if (status.st_uid != ::geteuid() && ::geteuid() != 0) {
    return FailedPrecondition(path.string() + " belongs to user id " +
                              std::to_string(status.st_uid) + ", not to this process's " +
                              std::to_string(::geteuid()));
  }
  return OkStatus();
}

StatusOr<DirectoryLock> DirectoryLock::Acquire(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / kLockName;
  FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.is_open()) return SystemError(errno, "open", path);
  while (::flock(file.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return SystemError(errno, "lock", path);
    return FailedPrecondition(directory.string() + " is in use by another process" +
                              HolderOf(file.fd()) + "; stop it first");
  }
  const std::string process = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file.fd(), 0) != 0) return SystemError(errno, "write", path);
  CHORALE_RETURN_IF_ERROR(internal::WriteAll(file.fd(), AsBytes(process), path));
  return DirectoryLock(file.Release());
}

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

DirectoryLock& DirectoryLock::operator=(DirectoryLock&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

// Closing is enough, and unlike an explicit unlock it is safe in a forked child: the lock lives as
// long as one copy of the descriptor. The file stays, since removing it would let two processes
// lock two different files of one name.
DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace chorale::storage
