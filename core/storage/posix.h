#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/status.h"

// System calls with our errors, for this folder alone.
namespace chorale::storage::internal {

// Owns a descriptor; -1 is none.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  [[nodiscard]] int Release();

 private:
  int fd_ = -1;
};

// "cannot <doing> <path>: <the system's words>". RESOURCE_EXHAUSTED for a full disk, quota or file
// limit, PERMISSION_DENIED for rights and read-only disks, else UNAVAILABLE.
[[nodiscard]] Status SystemError(int error, std::string_view doing,
                                 const std::filesystem::path& path);

// True for the errors that mean: no room.
[[nodiscard]] bool IsNoSpace(int error);

// A regular file, to be read.
struct FileToRead {
  FileDescriptor file;
  std::uint64_t size_bytes = 0;
};
// NOT_FOUND; UNAVAILABLE: no regular file. Waits for nobody at the other end of a pipe.
// `more_flags` as of open(2).
[[nodiscard]] StatusOr<FileToRead> OpenToRead(const std::filesystem::path& path,
                                              int more_flags = 0);

// A new file of mode 0600 in `directory`, named <prefix>XXXXXX; its name goes to `name`.
[[nodiscard]] StatusOr<FileDescriptor> CreateTemporary(const std::filesystem::path& directory,
                                                       std::string_view prefix,
                                                       std::filesystem::path& name);

// Writes every byte at the descriptor's position. `path` is for the message.
[[nodiscard]] Status WriteAll(int fd, ByteSpan bytes, const std::filesystem::path& path);

// Makes earlier creations, renames and removals in the directory durable.
[[nodiscard]] Status SyncDirectory(const std::filesystem::path& directory);

// The directory that holds `path`; "." for a bare name.
[[nodiscard]] std::filesystem::path DirectoryOf(const std::filesystem::path& path);

}  // namespace chorale::storage::internal
