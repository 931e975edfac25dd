#include "core/storage/posix.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace chorale::storage::internal {

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

int FileDescriptor::Release() { return std::exchange(fd_, -1); }

bool IsNoSpace(int error) {
  return error == ENOSPC || error == EDQUOT || error == EFBIG || error == EMFILE ||
         error == ENFILE || error == ENOMEM;
}

Status SystemError(int error, std::string_view doing, const std::filesystem::path& path) {
  const std::string message = "cannot " + std::string(doing) + " " + path.string() + ": " +
                              std::system_category().message(error);
  if (IsNoSpace(error)) return ResourceExhausted(message);
  if (error == EACCES || error == EPERM || error == EROFS) return PermissionDenied(message);
  return Unavailable(message);
}

StatusOr<FileToRead> OpenToRead(const std::filesystem::path& path, int more_flags) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | more_flags));
  if (!file.is_open()) {
    if (errno == ENOENT) return NotFound("no such file: " + path.string());
    return SystemError(errno, "open", path);
  }
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0) return SystemError(errno, "examine", path);
  if (!S_ISREG(status.st_mode)) return Unavailable(path.string() + " is not a regular file");
  return FileToRead{.file = std::move(file),
                    .size_bytes = static_cast<std::uint64_t>(status.st_size)};
}

StatusOr<FileDescriptor> CreateTemporary(const std::filesystem::path& directory,
                                         std::string_view prefix, std::filesystem::path& name) {
  std::string pattern = (directory / (std::string(prefix) + "XXXXXX")).string();
  FileDescriptor file(::mkostemp(pattern.data(), O_CLOEXEC));
  if (!file.is_open()) return SystemError(errno, "create a file in", directory);
  name = pattern;
  return file;
}

Status WriteAll(int fd, ByteSpan bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return SystemError(errno, "write", path);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return OkStatus();
}

Status SyncDirectory(const std::filesystem::path& directory) {
  const FileDescriptor handle(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!handle.is_open()) return SystemError(errno, "open", directory);
  // EINVAL: a file system whose directories have nothing to sync.
  if (::fsync(handle.fd()) != 0 && errno != EINVAL) return SystemError(errno, "sync", directory);
  return OkStatus();
}

std::filesystem::path DirectoryOf(const std::filesystem::path& path) {
  const std::filesystem::path parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

}  // namespace chorale::storage::internal
