#include <CLI/CLI.hpp>

#include "chorale/v1/config.pb.h"
#include "cli/backup_flow.h"
#include "cli/coordinator_file.h"
#include "cli/restored_config.h"
#include "cli/verbs.h"
#include "coordinator/state_layout.h"
#include "core/config/yaml.h"

namespace chorale::cli {
namespace {

StatusOr<PartyDirectory> Open(const std::filesystem::path& directory) {
  CHORALE_ASSIGN_OR_RETURN(const std::filesystem::path state, CoordinatorStateDirectory(directory));
  CHORALE_ASSIGN_OR_RETURN(const std::filesystem::path identity,
                           CoordinatorIdentityDirectory(directory));
  return PartyDirectory{.role = v1::PARTY_ROLE_COORDINATOR,
                        .config_file = CoordinatorFilePath(directory),
                        .state_directory = state,
                        .identity_directory = identity,
                        .layout = coordinator::CoordinatorStateLayout()};
}

}  // namespace

void AddCoordinatorBackup(CLI::App& group, Command& command) {
  AddBackupVerbs(
      group, command,
      {.party = "coordinator",
       .config = "coordinator.yaml",
       .role = v1::PARTY_ROLE_COORDINATOR,
       .layout = coordinator::CoordinatorStateLayout(),
       .open = Open,
       .adapt = UseFoldersBeside<v1::CoordinatorConfig>,
       .next =
           "  see that the one it was made of never starts again\n"
           "  chorale-coordinator --config DIR/coordinator.yaml\n"
           "Sites that have seen what came after the backup do not follow it. If that is lost for "
           "good:\n"
           "  chorale coordinator accept-loss --dir DIR\n"});
}

}  // namespace chorale::cli
