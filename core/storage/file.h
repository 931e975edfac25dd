#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

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
