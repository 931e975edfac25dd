#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace chorale::support {

// In memory where the machine offers it: for small files, and tests that are not about the disk,
// since syncing one that is busy takes its time.
enum class Medium { kDisk, kMemory };

// A new directory of mode 0700, removed with all it holds when this is destroyed.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(Medium medium = Medium::kDisk) {
    const std::filesystem::path memory = "/dev/shm";
    const bool is_in_memory = medium == Medium::kMemory && ::access(memory.c_str(), W_OK) == 0;
    const std::filesystem::path parent =
        is_in_memory ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (parent / "chorale-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      std::perror("mkdtemp");
      std::abort();
    }
    path_ = pattern;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace chorale::support
