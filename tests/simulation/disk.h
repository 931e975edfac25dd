#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/random.h"

namespace chorale::simulation {

// What happens to a write or a sync of a disk.
enum class DiskFault {
  kFull,       // Nothing is written: no space.
  kError,      // An I/O error; of a write, after a part of it.
  kDeath,      // The process dies before it; of a write, after a part of it.
  kLateDeath,  // The process dies right after it.
};

// A disk that holds what SQLite writes below one directory, in memory, and knows what was synced.
// While a disk stands, it takes the place of the real one for every database below its directory,
// of this process; other files are on the real one. Not thread-safe.
class Disk {
 public:
  // `random` decides what a power cut leaves; both must outlive the disk.
  Disk(std::filesystem::path directory, RandomSource& random);
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  // The fault comes with the `countdown`-th write or sync from here on, once.
  void Arm(DiskFault fault, int countdown) { armed_ = Armed{fault, countdown}; }
  void Disarm() { armed_.reset(); }
  // While full, no write finds space.
  void SetFull(bool is_full) { is_full_ = is_full; }
  // From a death to the next Revive nothing that is written stays.
  void Kill() { is_dead_ = true; }
  [[nodiscard]] bool is_dead() const { return is_dead_; }

  // Another process begins on what the last one left. With `power_was_cut`, writes that were not
  // synced are there, are not, or are there in part: each as chance has it. REQUIRES: nobody has a
  // file open.
  void Revive(bool power_was_cut);

  // A disk of its own with what would be left of the files of this prefix if power went now and
  // nothing unsynced had made it.
  [[nodiscard]] std::unique_ptr<Disk> AfterPowerCut(std::filesystem::path directory,
                                                    std::string_view prefix) const;
  [[nodiscard]] std::uint64_t num_operations() const { return num_operations_; }

 private:
  friend class DiskAccess;
  struct Change {
    std::uint64_t offset = 0;
    Bytes bytes;
    std::optional<std::uint64_t> truncated_to;
  };
  struct File {
    Bytes content;  // As processes see it.
    Bytes synced;
    std::vector<Change> unsynced;
    std::vector<std::unique_ptr<std::uint8_t[]>> shared_memory;
  };
  struct Armed {
    DiskFault fault;
    int countdown;
  };
  static void Apply(const Change& change, Bytes& content);
  // The fault that this operation meets.
  std::optional<DiskFault> Meet();

  std::filesystem::path directory_;
  RandomSource& random_;
  std::map<std::string, File> files_;  // By path below the directory.
  std::optional<Armed> armed_;
  bool is_full_ = false;
  bool is_dead_ = false;
  std::uint64_t num_operations_ = 0;
};

}  // namespace chorale::simulation
