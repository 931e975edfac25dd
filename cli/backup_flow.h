#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "backup/state_layout.h"
#include "chorale/v1/identity.pb.h"
#include "cli/command_line.h"
#include "cli/output.h"
#include "core/status.h"

// `chorale coordinator|site backup|restore|verify`: alike but for what a party's directory holds.
namespace chorale::cli {

// A party's directory, as its configuration file says.
struct PartyDirectory {
  v1::PartyRole role = v1::PARTY_ROLE_UNSPECIFIED;
  std::filesystem::path config_file;
  std::filesystem::path state_directory;
  std::filesystem::path identity_directory;
  backup::StateLayout layout;
};

// What differs between the two parties.
struct BackupVerbs {
  std::string party;   // "coordinator" or "site".
  std::string config;  // "coordinator.yaml"
  v1::PartyRole role = v1::PARTY_ROLE_UNSPECIFIED;
  backup::StateLayout layout;
  // Of a directory that has a configuration file.
  std::function<StatusOr<PartyDirectory>(const std::filesystem::path& directory)> open;
  // Makes a restored configuration file name the folders "state" and "identity" beside it. True:
  // the file had other ones.
  std::function<StatusOr<bool>(const std::filesystem::path& file)> adapt;
  std::string next;  // What to do after restoring; DIR stands for the directory.
};

// Adds the three verbs.
void AddBackupVerbs(CLI::App& group, Command& command, const BackupVerbs& verbs);

}  // namespace chorale::cli
