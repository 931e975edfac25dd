#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "backup/state_layout.h"
#include "core/crypto/digest.h"
#include "core/status.h"
#include "core/storage/file.h"

namespace chorale::backup {

// The files of a state, by their names below the state directory.
using StateFiles = std::map<std::string, std::filesystem::path>;

// A state directory as of one moment, in a folder of its own within it: databases are copied, files
// linked, so that they stay while the program removes its own. The folder goes with this object;
// what a killed process left is removed by the next one.
class Staging {
 public:
  // The program may run meanwhile. NOT_FOUND: there is no state. DATA_LOSS: a database is damaged,
  // or a blob is missing. RESOURCE_EXHAUSTED: disk full. PERMISSION_DENIED: a read-only disk.
  [[nodiscard]] static StatusOr<Staging> Take(const StateLayout& layout,
                                              const std::filesystem::path& state_directory);
  Staging(Staging&& other) noexcept;
  Staging& operator=(Staging&& other) = delete;
  ~Staging();

  // The copy: a state directory without what is made anew.
  [[nodiscard]] const std::filesystem::path& content() const { return content_; }

 private:
  Staging(std::filesystem::path directory, storage::DirectoryLock lock)
      : directory_(std::move(directory)), lock_(std::move(lock)) {}
  std::filesystem::path directory_;  // Empty: moved from.
  std::filesystem::path content_;
  storage::DirectoryLock lock_;
};

// Every file of the layout that there is. DATA_LOSS: a blob is missing; NOT_FOUND: no state.
[[nodiscard]] StatusOr<StateFiles> ListState(const StateLayout& layout,
                                             const std::filesystem::path& state_directory);

// Reads everything, checks blobs against their names and databases from end to end, and tells what
// stands for it: equal states have one digest, wherever they lie. DATA_LOSS.
[[nodiscard]] StatusOr<crypto::Digest> DigestState(const StateLayout& layout,
                                                   const std::filesystem::path& state_directory);

}  // namespace chorale::backup
