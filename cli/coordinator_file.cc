#include "cli/coordinator_file.h"

#include "chorale/v1/config.pb.h"
#include "core/config/yaml.h"
#include "core/config/yaml_writer.h"

namespace chorale::cli {

std::filesystem::path CoordinatorFilePath(const std::filesystem::path& directory) {
  return directory / "coordinator.yaml";
}

std::string RenderCoordinatorFile(const std::string& listen, const std::filesystem::path& roster) {
  v1::CoordinatorConfig address;
  address.set_listen(listen);
  v1::CoordinatorConfig members;
  members.set_roster(roster.string());
  return "# The coordinator of a Chorale federation. Every key is explained in "
         "docs/operations.md.\n"
         "\n"
         "# Where sites and researchers dial. Port 0 picks a free one and writes it to "
         "<state_directory>/listen.\n" +
         config::ToYaml(address) +
         "\n"
         "# Jobs, rounds and models. One coordinator at a time. Paths start at this file.\n"
         "state_directory: state\n"
         "# What `chorale coordinator enrol` writes: keys, certificate, the federation's root. "
         "Never copy it elsewhere.\n"
         "identity_directory: identity\n"
         "# The members, as the federation authority signed them. Read again whenever the file "
         "changes.\n" +
         config::ToYaml(members) +
         "\n"
         "# Jobs that train at the same time, and jobs that may wait behind them.\n"
         "max_running_jobs: 4\n"
         "max_queued_jobs: 1000\n"
         "# Cores for summing updates. Default: all of the machine.\n"
         "# threads: 4\n"
         "# How often a site must speak; after three misses it is dropped from the round.\n"
         "heartbeat_interval: 10s\n"
         "# Largest model a job may have. Default: 64 GiB.\n"
         "# max_model_bytes: 1073741824\n"
         "# Prometheus metrics. Default: none.\n"
         "# metrics_listen: \"127.0.0.1:9463\"\n"
         "\n"
         "log:\n"
         "  level: info   # debug, info, warning, error; CHORALE_LOG wins\n"
         "  format: text  # or json\n";
}

StatusOr<std::filesystem::path> CoordinatorStateDirectory(const std::filesystem::path& directory) {
  const std::filesystem::path file = CoordinatorFilePath(directory);
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return NotFound("there is no " + file.string() +
                    "; make one with `chorale coordinator init --dir " + directory.string() +
                    " --listen HOST:PORT --roster FILE`");
  }
  v1::CoordinatorConfig config;
  CHORALE_RETURN_IF_ERROR(config::LoadYaml(file.string(), config));
  return directory / config.state_directory();  // An absolute path replaces what stands before it.
}

StatusOr<std::filesystem::path> CoordinatorIdentityDirectory(
    const std::filesystem::path& directory) {
  const std::filesystem::path file = CoordinatorFilePath(directory);
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return directory / "identity";
  v1::CoordinatorConfig config;
  CHORALE_RETURN_IF_ERROR(config::LoadYaml(file.string(), config));
  // An absolute path replaces what stands before it.
  return directory /
         (config.identity_directory().empty() ? "identity" : config.identity_directory());
}

}  // namespace chorale::cli
