#include "coordinator/config.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <thread>
#include <utility>

#include "coordinator/time_codec.h"
#include "core/config/yaml.h"
#include "core/log.h"
#include "core/storage/file.h"

namespace chorale::coordinator {
namespace {

constexpr std::uint64_t kMaxConfigBytes = 1u << 20;
constexpr std::uint32_t kDefaultRunningJobs = 4;
constexpr std::uint32_t kMaxRunningJobs = 256;
constexpr std::uint32_t kDefaultQueuedJobs = 1000;
constexpr std::uint32_t kMaxQueuedJobs = 100000;
constexpr std::uint32_t kMaxThreads = 1024;
constexpr std::uint64_t kDefaultModelBytes = 64ull << 30;
constexpr Duration kDefaultHeartbeat = std::chrono::seconds(10);
constexpr Duration kLeastHeartbeat = std::chrono::seconds(1);
constexpr Duration kMostHeartbeat = std::chrono::minutes(5);

Status CheckRange(std::string_view field, std::uint32_t value, std::uint32_t most) {
  if (value >= 1 && value <= most) return OkStatus();
  return config::FieldError(
      field, "must be in [1, " + std::to_string(most) + "], got " + std::to_string(value));
}

Status CheckPath(std::string_view field, const std::string& path) {
  if (!path.empty()) return OkStatus();
  return config::FieldError(field, "is required: a path");
}

// host:port, [v6]:port.
Status CheckAddress(std::string_view field, const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size()) {
    return config::FieldError(field, "must be host:port, got \"" + address + "\"");
  }
  unsigned port = 0;
  const char* const end = address.data() + address.size();
  const auto parsed = std::from_chars(address.data() + colon + 1, end, port);
  if (parsed.ec == std::errc() && parsed.ptr == end && port <= 65535) return OkStatus();
  return config::FieldError(field, "must end with a port in [0, 65535], got \"" + address + "\"");
}

void ResolveFrom(const std::filesystem::path& directory, std::string& path) {
  if (!path.empty()) path = (directory / path).lexically_normal().string();
}

}  // namespace

v1::CoordinatorConfig WithDefaults(v1::CoordinatorConfig config) {
  if (config.max_running_jobs() == 0) config.set_max_running_jobs(kDefaultRunningJobs);
  if (config.max_queued_jobs() == 0) config.set_max_queued_jobs(kDefaultQueuedJobs);
  if (config.threads() == 0) {
    config.set_threads(std::clamp(std::thread::hardware_concurrency(), 1u, kMaxThreads));
  }
  if (!config.has_heartbeat_interval()) {
    *config.mutable_heartbeat_interval() = ToProto(kDefaultHeartbeat);
  }
  if (config.max_model_bytes() == 0) config.set_max_model_bytes(kDefaultModelBytes);
  return config;
}

Status Validate(const v1::CoordinatorConfig& config) {
  CHORALE_RETURN_IF_ERROR(CheckAddress("listen", config.listen()));
  CHORALE_RETURN_IF_ERROR(CheckPath("state_directory", config.state_directory()));
  CHORALE_RETURN_IF_ERROR(CheckPath("identity_directory", config.identity_directory()));
  CHORALE_RETURN_IF_ERROR(CheckPath("roster", config.roster()));
  CHORALE_RETURN_IF_ERROR(
      CheckRange("max_running_jobs", config.max_running_jobs(), kMaxRunningJobs));
  CHORALE_RETURN_IF_ERROR(CheckRange("max_queued_jobs", config.max_queued_jobs(), kMaxQueuedJobs));
  CHORALE_RETURN_IF_ERROR(CheckRange("threads", config.threads(), kMaxThreads));
  const Duration heartbeat = FromProto(config.heartbeat_interval());
  if (heartbeat < kLeastHeartbeat || heartbeat > kMostHeartbeat) {
    return config::FieldError("heartbeat_interval",
                              "must be in [1 s, 5 min], got " + FormatDuration(heartbeat));
  }
  if (!config.metrics_listen().empty()) {
    CHORALE_RETURN_IF_ERROR(CheckAddress("metrics_listen", config.metrics_listen()));
  }
  const auto log_options =
      log::ParseOptions(config.log().level(), config.log().format(), config.log().file());
  if (!log_options.ok()) return config::FieldError("log", MessageOf(log_options.status()));
  return OkStatus();
}

StatusOr<v1::CoordinatorConfig> LoadConfig(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(const std::string text, storage::ReadFile(path, kMaxConfigBytes));
  v1::CoordinatorConfig config;
  CHORALE_RETURN_IF_ERROR(config::ParseYaml(text, path.string(), config));
  config = WithDefaults(std::move(config));
  if (const Status valid = Validate(config); !valid.ok()) {
    return config::Locate(valid, text, path.string());
  }
  const std::filesystem::path directory = path.parent_path();
  ResolveFrom(directory, *config.mutable_state_directory());
  ResolveFrom(directory, *config.mutable_identity_directory());
  ResolveFrom(directory, *config.mutable_roster());
  ResolveFrom(directory, *config.mutable_log()->mutable_file());
  return config;
}

}  // namespace chorale::coordinator
