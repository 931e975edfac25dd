#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "backup/state_layout.h"
#include "chorale/v1/backup.pb.h"
#include "core/crypto/digest.h"
#include "core/random.h"
#include "core/status.h"

// A party's state in one file of mode 0600, which is there whole or not at all:
//   state/…      the state directory, as its layout says
//   config/…     the configuration file
//   identity/…   certificate and private keys, only where that was asked for
namespace chorale::backup {

struct Request {
  v1::BackupHeader header;  // Role, party, federation and time; the rest is filled in.
  StateLayout layout;
  std::filesystem::path state_directory;
  std::map<std::string, std::filesystem::path>
      further;  // By name in the file: config/…, identity/….
  std::filesystem::path file;
};

struct Written {
  v1::BackupHeader header;
  crypto::Digest digest{};  // Of the file's content: what it ends with.
};

// The program may run meanwhile. ALREADY_EXISTS: there is something at `file`. Errors of Staging
// and ArchiveWriter otherwise; then there is no file.
[[nodiscard]] StatusOr<Written> Write(const Request& request);

// Reads a backup from end to end. NOT_FOUND; DATA_LOSS: damaged; FAILED_PRECONDITION: of a newer
// version.
[[nodiscard]] StatusOr<Written> Check(const std::filesystem::path& file);

struct Destination {
  v1::PartyRole role = v1::PARTY_ROLE_UNSPECIFIED;
  StateLayout layout;
  std::filesystem::path directory;  // Not there, or empty.
};

// Puts a backup back: <directory>/state, <directory>/identity, and the files of config/ in
// <directory> itself. The state gets a new lineage (storage::StateMark). All of it is there or, on
// error, nothing. ALREADY_EXISTS: the directory is not empty. INVALID_ARGUMENT: a backup of another
// role. DATA_LOSS: damaged, or its state is not the one that it was made of.
[[nodiscard]] StatusOr<Written> Restore(const std::filesystem::path& file,
                                        const Destination& destination, RandomSource& random);

}  // namespace chorale::backup
