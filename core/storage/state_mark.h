#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/random.h"
#include "core/status.h"

// Which state directory a program works from, and how often one has begun with it: the file
// state_mark. Peers remember it, so that of two programs on copies of one directory the older one
// is told from the newer.
namespace chorale::storage {

struct StateMark {
  std::string lineage = {};   // 32 hexadecimal digits: drawn anew whenever a state begins.
  std::uint64_t epoch = 0;    // Starts so far. 0: none.
  bool accepts_loss = false;  // Somebody said that what a state before this one knew is lost.
  friend bool operator==(const StateMark&, const StateMark&) = default;
};

// The directory's mark with its epoch raised, durable when this returns; a new one where there is
// none. REQUIRES: the directory's lock. DATA_LOSS: the file is damaged; else the disk's errors.
[[nodiscard]] StatusOr<StateMark> BeginEpoch(const std::filesystem::path& directory,
                                             RandomSource& random);

// Gives the directory a new lineage: what is in it goes on apart from what it was copied from.
// Else as above.
[[nodiscard]] StatusOr<StateMark> BeginLineage(const std::filesystem::path& directory,
                                               RandomSource& random, bool accepts_loss);

// The mark as it stands. NOT_FOUND: no program has begun here.
[[nodiscard]] StatusOr<StateMark> LoadStateMark(const std::filesystem::path& directory);

// True for what a lineage may be: text that came from elsewhere.
[[nodiscard]] bool IsLineage(std::string_view text);

}  // namespace chorale::storage
