#include "cli/researcher_home.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <utility>

#include "cli/address.h"
#include "core/bytes.h"
#include "core/config/yaml.h"
#include "core/config/yaml_writer.h"
#include "core/storage/file.h"

namespace chorale::cli {
namespace {

std::string VariableOr(const char* name, const std::string& fallback) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : fallback;
}

std::filesystem::path ResearcherFilePath(const std::filesystem::path& directory) {
  return directory / "researcher.yaml";
}

}  // namespace

std::filesystem::path DefaultResearcherDirectory() {
  const std::string state = VariableOr("XDG_STATE_HOME", VariableOr("HOME", ".") + "/.local/state");
  return std::filesystem::path(state) / "chorale" / "researcher";
}

void AddResearcherOption(CLI::App& app, std::filesystem::path& directory) {
  directory = DefaultResearcherDirectory();
  app.add_option("--as", directory, "The researcher's directory")
      ->type_name("DIR")
      ->capture_default_str();
}

Status SaveResearcherFile(const std::filesystem::path& directory, const std::string& coordinator) {
  CHORALE_RETURN_IF_ERROR(ValidateDialAddress("coordinator", coordinator));
  v1::ResearcherConfig address;
  address.set_coordinator(coordinator);
  const std::string text = "# Where this researcher's commands go.\n" + config::ToYaml(address) +
                           "# Keys and certificate. Never copy them elsewhere.\n"
                           "identity_directory: identity\n"
                           "# HTTP proxy to the outside. Default: https_proxy or HTTPS_PROXY of "
                           "the environment; \"none\" ignores them.\n"
                           "# proxy: \"http://proxy.example.org:3128\"\n";
  return storage::WriteFileAtomically(ResearcherFilePath(directory), AsBytes(text),
                                      storage::FileMode::kPrivate);
}

StatusOr<Researcher> OpenResearcher(const std::filesystem::path& directory, Time now) {
  const std::filesystem::path file = ResearcherFilePath(directory);
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return NotFound("there is no researcher in " + directory.string() +
                    "; enrol with `chorale researcher enrol --dir DIR --token TOKEN --coordinator "
                    "HOST:PORT`, or name the "
                    "directory with --as");
  }
  v1::ResearcherConfig config;
  CHORALE_RETURN_IF_ERROR(config::LoadYaml(file.string(), config));
  if (const Status status = ValidateDialAddress("coordinator", config.coordinator());
      !status.ok()) {
    return Annotate(status, file.string());
  }
  const std::filesystem::path identity_directory =
      directory / (config.identity_directory().empty() ? "identity" : config.identity_directory());
  CHORALE_ASSIGN_OR_RETURN(identity::Identity identity,
                           identity::Identity::Load(identity_directory, now));
  CHORALE_ASSIGN_OR_RETURN(std::unique_ptr<JobsClient> jobs,
                           JobsClient::Create(config.coordinator(), config.proxy(), identity));
  return Researcher{.identity = std::move(identity), .jobs = std::move(jobs)};
}

}  // namespace chorale::cli
