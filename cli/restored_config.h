#pragma once

#include <filesystem>
#include <string>

#include "cli/new_file.h"
#include "core/bytes.h"
#include "core/config/yaml.h"
#include "core/config/yaml_writer.h"
#include "core/status.h"
#include "core/storage/file.h"

namespace chorale::cli {

// Makes a configuration file of a restored directory name the folders "state" and "identity" beside
// it. What it was before stays as <file>.before. True: it named other ones.
template <typename Config>
[[nodiscard]] StatusOr<bool> UseFoldersBeside(const std::filesystem::path& file) {
  constexpr std::uint64_t kMaxBytes = 1u << 20;
  Config config;
  CHORALE_RETURN_IF_ERROR(config::LoadYaml(file.string(), config));
  if (config.state_directory() == "state" && config.identity_directory() == "identity") {
    return false;
  }
  CHORALE_ASSIGN_OR_RETURN(const std::string before, storage::ReadFile(file, kMaxBytes));
  CHORALE_RETURN_IF_ERROR(WriteNewFile(file.string() + ".before", before));
  config.set_state_directory("state");
  config.set_identity_directory("identity");
  const std::string text = config::ToYaml(config);
  CHORALE_RETURN_IF_ERROR(
      storage::WriteFileAtomically(file, AsBytes(text), storage::FileMode::kPublic));
  return true;
}

}  // namespace chorale::cli
