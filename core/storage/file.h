#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "core/bytes.h"
#include "core/status.h"

// Files that must be there after a crash, or not at all.
namespace chorale::storage {

enum class FileMode : unsigned { kPublic = 0644, kPrivate = 0600 };

// Writes to a temporary file beside `path`, syncs it, renames it over `path`, syncs the directory.
// RESOURCE_EXHAUSTED: disk full; PERMISSION_DENIED; UNAVAILABLE: anything else, with the path and
// the system's words.
[[nodiscard]] Status WriteFileAtomically(const std::filesystem::path& path, ByteSpan bytes,
                                         FileMode mode);

// NOT_FOUND, PERMISSION_DENIED, or RESOURCE_EXHAUSTED when the file is larger than `max_bytes`.
[[nodiscard]] StatusOr<std::string> ReadFile(const std::filesystem::path& path,
                                             std::uint64_t max_bytes);

// A new file of mode 0600, written piece by piece. What is not closed may be cut short. Not
// thread-safe. Errors as of WriteFileAtomically.
class FileWriter {
 public:
  // ALREADY_EXISTS.
  [[nodiscard]] static StatusOr<FileWriter> Create(const std::filesystem::path& path);
  FileWriter(FileWriter&& other) noexcept;
  FileWriter& operator=(FileWriter&& other) noexcept;
  ~FileWriter();
  [[nodiscard]] Status Append(ByteSpan bytes);
  // Durable when this returns OK.
  [[nodiscard]] Status Close() &&;

 private:
  FileWriter(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::filesystem::path path_;
  int fd_ = -1;
};

// Bytes free for this process on the disk of a file or directory.
[[nodiscard]] StatusOr<std::uint64_t> FreeBytes(const std::filesystem::path& path);

// Makes earlier creations, renames and removals in a directory durable.
[[nodiscard]] Status SyncDirectory(const std::filesystem::path& directory);

// Creates a directory and its parents with mode 0700. FAILED_PRECONDITION when an existing one is
// open to other users.
[[nodiscard]] Status CreatePrivateDirectory(const std::filesystem::path& path);

// Holds a directory for this process: a second holder is refused, whoever it is, until this one is
// destroyed or its process ends.
class DirectoryLock {
 public:
  // FAILED_PRECONDITION: another process holds it, with its process id.
  [[nodiscard]] static StatusOr<DirectoryLock> Acquire(const std::filesystem::path& directory);
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(DirectoryLock&& other) noexcept;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace chorale::storage
