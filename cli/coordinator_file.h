#pragma once

#include <filesystem>
#include <string>

#include "core/status.h"

// coordinator.yaml in a coordinator's directory.
namespace chorale::cli {

[[nodiscard]] std::filesystem::path CoordinatorFilePath(const std::filesystem::path& directory);

// A commented coordinator.yaml. `roster` is absolute.
[[nodiscard]] std::string RenderCoordinatorFile(const std::string& listen,
                                                const std::filesystem::path& roster);

// Where the state lies: as coordinator.yaml says, a relative path below the directory. NOT_FOUND
// with the command to run first.
[[nodiscard]] StatusOr<std::filesystem::path> CoordinatorStateDirectory(
    const std::filesystem::path& directory);

// Where the identity lies: as coordinator.yaml says, a relative path below the directory. Its
// folder "identity" where there is no coordinator.yaml yet.
[[nodiscard]] StatusOr<std::filesystem::path> CoordinatorIdentityDirectory(
    const std::filesystem::path& directory);

}  // namespace chorale::cli
