#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "chorale/v1/researcher.pb.h"
#include "cli/jobs_client.h"
#include "core/status.h"
#include "core/time.h"
#include "identity/identity.h"

namespace CLI {
class App;
}

// A researcher's directory: identity and researcher.yaml.
namespace chorale::cli {

// $XDG_STATE_HOME/chorale/researcher, else ~/.local/state/chorale/researcher.
[[nodiscard]] std::filesystem::path DefaultResearcherDirectory();

// Adds --as DIR.
void AddResearcherOption(CLI::App& app, std::filesystem::path& directory);

[[nodiscard]] Status SaveResearcherFile(const std::filesystem::path& directory,
                                        const std::string& coordinator);

// Who the researcher is, and a line to the coordinator.
struct Researcher {
  identity::Identity identity;
  std::unique_ptr<JobsClient> jobs;
};
// NOT_FOUND with the command to run first.
[[nodiscard]] StatusOr<Researcher> OpenResearcher(const std::filesystem::path& directory, Time now);

}  // namespace chorale::cli
