#pragma once

#include <optional>
#include <string>
#include <vector>

namespace chorale::backup {

// What of a state directory is worth keeping. Everything else in it is made anew by the program.
struct StateLayout {
  // Files named by their digest in a folder: those that the first database names.
  struct Blobs {
    std::string folder;
    std::string query;  // Of the first database: digest (32 bytes), size.
  };
  // At least one, and copied in this order, the folders after the first: what a row relies on is in
  // a later copy. Only the first must be there.
  std::vector<std::string> databases;
  std::optional<Blobs> blobs = {};
  std::vector<std::string> folders = {};  // Of files that are never changed but replaced.
  std::vector<std::string> files = {};    // Likewise.
};

}  // namespace chorale::backup
