#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>

#include "cli/coordinator_file.h"
#include "cli/new_file.h"
#include "cli/verbs.h"
#include "core/crypto/random.h"
#include "core/storage/file.h"
#include "core/storage/state_mark.h"

namespace chorale::cli {
namespace {

Status Run(const std::filesystem::path& directory, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const std::filesystem::path state,
                           CoordinatorStateDirectory(Absolute(directory)));
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(state));
  const auto lock = storage::DirectoryLock::Acquire(state);
  if (!lock.ok()) return Annotate(lock.status(), "the coordinator must be stopped");
  crypto::SecureRandom random;
  CHORALE_RETURN_IF_ERROR(storage::BeginLineage(state, random, /*accepts_loss=*/true).status());
  terminal.out << "Sites will follow the coordinator of " << state.string()
               << " although they have seen a later state, and no other one from before.\n"
               << "What that later state knew is lost: rounds since then are trained again, and "
                  "privacy budgets are charged again for them.\n";
  return OkStatus();
}

}  // namespace

void AddCoordinatorAcceptLoss(CLI::App& group, Command& command) {
  const auto directory = std::make_shared<std::filesystem::path>();
  CLI::App* verb = group.add_subcommand(
      "accept-loss", "Says that what sites know of a later state is lost, so that they follow");
  verb->add_option("--dir", *directory, "The coordinator's directory")->required();
  verb->callback([directory, &command] {
    command.Choose([directory, &command] { return Run(*directory, command.terminal()); });
  });
}

}  // namespace chorale::cli
