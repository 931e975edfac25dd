#include "site_agent/config.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/config/nearest_key.h"
#include "core/config/yaml.h"
#include "core/crypto/digest.h"
#include "core/ids.h"
#include "core/log.h"
#include "core/storage/file.h"
#include "data/array_files.h"
#include "data/csv_reader.h"
#include "privacy/ledger/budget.h"
#include "site_agent/task_policy.h"

namespace chorale::site_agent {
namespace {

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;
constexpr std::uint32_t kMaxThreads = 1024;
constexpr int kMaxDatasets = 256;
constexpr std::uint64_t kMinMemoryBytes = 16u << 20;

std::filesystem::path StateHome() {
  const char* state_home = std::getenv("XDG_STATE_HOME");
  if (state_home != nullptr && *state_home != '\0') return state_home;
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home != '\0') return std::filesystem::path(home) / ".local" / "state";
  return "/var/lib";
}

// Of the machine.
std::uint64_t MemoryBytes() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_bytes = ::sysconf(_SC_PAGE_SIZE);
  if (pages <= 0 || page_bytes <= 0) return kMinMemoryBytes;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
}

Status CheckAddress(std::string_view field, std::string_view address) {
  const std::size_t colon = address.rfind(':');
  const std::string_view port = colon == std::string_view::npos ? "" : address.substr(colon + 1);
  const bool is_number = !port.empty() && port.size() <= 5 &&
                         std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
  if (colon == std::string_view::npos || colon == 0 || !is_number ||
      std::stoi(std::string(port)) > 65535) {
    return config::FieldError(
        field, "must be host:port with a port in [0, 65535], got \"" + std::string(address) + "\"");
  }
  return OkStatus();
}

bool IsDevice(std::string_view device) {
  if (device == "auto" || device == "cpu" || device == "cuda") return true;
  constexpr std::string_view kPrefix = "cuda:";
  if (!device.starts_with(kPrefix)) return false;
  device.remove_prefix(kPrefix.size());
  return !device.empty() && device.size() <= 3 &&
         std::ranges::all_of(device, [](char c) { return c >= '0' && c <= '9'; });
}

Status CheckCsv(const std::string& field, const v1::CsvConnector& csv) {
  if (csv.path().empty()) {
    return config::FieldError(field + ".path", "must name a file, got nothing");
  }
  return data::Validate(csv, field);
}

// The key is the message's first word.
Status CheckPrivacy(const std::string& field, const v1::PrivacyLimits& limits) {
  const Status status = privacy::LimitsOf(limits).status();
  if (status.ok()) return status;
  const std::string problem = MessageOf(status);
  const std::size_t space = problem.find(' ');
  return config::FieldError(field + "." + problem.substr(0, space), problem.substr(space + 1));
}

Status CheckDatasets(const v1::SiteConfig& config) {
  if (config.datasets_size() > kMaxDatasets) {
    return config::FieldError("datasets", "must hold at most 256 datasets, got " +
                                              std::to_string(config.datasets_size()));
  }
  std::set<std::string> ids;
  for (int i = 0; i < config.datasets_size(); ++i) {
    const v1::DatasetConfig& dataset = config.datasets(i);
    const std::string field = "datasets[" + std::to_string(i) + "]";
    if (!IsValidName(dataset.id())) {
      return config::FieldError(
          field + ".id", "must be 1 to 64 characters of [a-z0-9-], got \"" + dataset.id() + "\"");
    }
    if (!ids.insert(dataset.id()).second) {
      return config::FieldError(field + ".id",
                                "must be unique, got \"" + dataset.id() + "\" a second time");
    }
    if (!dataset.has_csv()) {
      return config::FieldError(field + ".csv", "is required: it is the only connector");
    }
    CHORALE_RETURN_IF_ERROR(CheckCsv(field + ".csv", dataset.csv()));
    CHORALE_RETURN_IF_ERROR(data::ValidateArrays(dataset, field));
    if (dataset.has_privacy()) {
      CHORALE_RETURN_IF_ERROR(CheckPrivacy(field + ".privacy", dataset.privacy()));
    }
    for (int k = 0; k < dataset.keep_size(); ++k) {
      const std::string keep = field + ".keep[" + std::to_string(k) + "]";
      if (dataset.keep(k).column().empty()) {
        return config::FieldError(keep + ".column", "must name a column, got nothing");
      }
      if (dataset.keep(k).values().empty()) {
        return config::FieldError(keep + ".values", "must list at least one value, got none");
      }
    }
  }
  return OkStatus();
}

bool IsDigest(std::string_view text) {
  return text.size() == 2 * crypto::kDigestBytes &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c) != 0; });
}

Status CheckModel(const std::string& field, const std::string& model) {
  const std::vector<std::string> names = ZooNames();
  if (IsDigest(model) || std::ranges::find(names, model) != names.end()) return OkStatus();
  std::string problem = "must be a model of the zoo, or the digest of a graph in 64 hexadecimal ";
  problem += "digits (as `chorale model show` prints it), got \"" + model + "\"";
  if (const std::optional<std::string> nearest = config::NearestKey(model, names)) {
    return config::FieldError(field, problem + ": did you mean " + *nearest + "?");
  }
  problem += "; the zoo has ";
  for (const std::string& name : names) problem += name == names.front() ? name : ", " + name;
  return config::FieldError(field, problem);
}

// Every bound of one rule. A rule that names an unknown dataset is a typing error that would
// silently deny.
Status CheckRule(const std::string& field, const v1::PolicyRule& rule,
                 const std::set<std::string>& datasets) {
  for (int i = 0; i < rule.researchers_size(); ++i) {
    CHORALE_RETURN_IF_ERROR(
        IsValidName(rule.researchers(i))
            ? OkStatus()
            : config::FieldError(field + ".researchers[" + std::to_string(i) + "]",
                                 "must be 1 to 64 characters of [a-z0-9-] (there is no wildcard), "
                                 "got \"" +
                                     rule.researchers(i) + "\""));
  }
  for (int i = 0; i < rule.datasets_size(); ++i) {
    if (!datasets.contains(rule.datasets(i))) {
      return config::FieldError(
          field + ".datasets[" + std::to_string(i) + "]",
          "must be the id of a dataset of this file, got \"" + rule.datasets(i) + "\"");
    }
  }
  for (int i = 0; i < rule.models_size(); ++i) {
    CHORALE_RETURN_IF_ERROR(
        CheckModel(field + ".models[" + std::to_string(i) + "]", rule.models(i)));
  }
  for (int i = 0; i < rule.sums_size(); ++i) {
    if (rule.sums(i) == v1::SUM_KIND_UNSPECIFIED || !v1::SumKind_IsValid(rule.sums(i))) {
      return config::FieldError(field + ".sums[" + std::to_string(i) + "]",
                                "must be newton or histogram");
    }
  }
  for (int i = 0; i < rule.metrics_size(); ++i) {
    if (rule.metrics(i) == v1::METRIC_KIND_UNSPECIFIED ||
        !v1::MetricKind_IsValid(rule.metrics(i))) {
      return config::FieldError(field + ".metrics[" + std::to_string(i) + "]",
                                "must be loss, accuracy or auroc");
    }
  }
  const auto at_least_one = [&field](std::string_view key, std::uint64_t value) {
    if (value >= 1) return OkStatus();
    return config::FieldError(field + "." + std::string(key), "must be at least 1, got 0");
  };
  CHORALE_RETURN_IF_ERROR(at_least_one("max_parameters", rule.max_parameters()));
  CHORALE_RETURN_IF_ERROR(at_least_one("max_rounds", rule.max_rounds()));
  return at_least_one("max_local_epochs", rule.max_local_epochs());
}

Status CheckPolicy(const v1::SiteConfig& config) {
  if (config.policy().allow().empty()) {
    return FailedPrecondition(
        "policy.allow is empty, and what no rule allows is refused: the agent would have nothing "
        "to "
        "do; write a rule that names researchers, datasets, models and limits");
  }
  std::set<std::string> datasets;
  for (const v1::DatasetConfig& dataset : config.datasets()) datasets.insert(dataset.id());
  for (int i = 0; i < config.policy().allow_size(); ++i) {
    CHORALE_RETURN_IF_ERROR(
        CheckRule("policy.allow[" + std::to_string(i) + "]", config.policy().allow(i), datasets));
  }
  return OkStatus();
}

void FillDefaults(v1::PrivacyLimits& limits) {
  if (limits.max_epsilon_per_job() == 0) limits.set_max_epsilon_per_job(limits.max_epsilon());
  if (limits.max_epsilon_per_project() == 0) {
    limits.set_max_epsilon_per_project(limits.max_epsilon());
  }
  if (limits.relation().empty()) limits.set_relation("add-remove");
}

std::string Resolve(const std::filesystem::path& directory, const std::string& path) {
  return path.empty() ? path : (directory / path).lexically_normal().string();
}

}  // namespace

void FillDefaults(v1::SiteConfig& config) {
  const std::filesystem::path home = StateHome() / "chorale" / "site";
  if (config.state_directory().empty()) config.set_state_directory(home.string());
  if (config.identity_directory().empty()) {
    config.set_identity_directory((home / "identity").string());
  }
  if (config.device().empty()) config.set_device("auto");
  if (config.threads() == 0) {
    config.set_threads(std::clamp(std::thread::hardware_concurrency(), 1u, kMaxThreads));
  }
  if (config.max_memory_bytes() == 0) {
    config.set_max_memory_bytes(std::max(MemoryBytes() / 4 * 3, kMinMemoryBytes));
  }
  for (v1::DatasetConfig& dataset : *config.mutable_datasets()) {
    if (dataset.has_privacy()) FillDefaults(*dataset.mutable_privacy());
    if (!dataset.has_csv()) continue;
    v1::CsvConnector& csv = *dataset.mutable_csv();
    if (csv.delimiter().empty()) csv.set_delimiter(",");
    if (csv.decimal().empty()) csv.set_decimal(".");
    if (csv.encoding().empty()) csv.set_encoding("utf-8");
    if (csv.missing().empty()) {
      for (const char* marker : {"", "?", "NA", "NaN"}) csv.add_missing(marker);
    }
    if (csv.on_missing() == v1::MISSING_ROWS_UNSPECIFIED) {
      csv.set_on_missing(v1::MISSING_ROWS_REFUSE);
    }
  }
  for (v1::PolicyRule& rule : *config.mutable_policy()->mutable_allow()) {
    if (rule.min_examples() == 0) rule.set_min_examples(kDefaultMinExamples);
  }
}

Status Validate(const v1::SiteConfig& config) {
  CHORALE_RETURN_IF_ERROR(CheckAddress("coordinator", config.coordinator()));
  if (!IsDevice(config.device())) {
    return config::FieldError("device",
                              "must be auto, cpu, cuda or cuda:N, got \"" + config.device() + "\"");
  }
  if (config.threads() < 1 || config.threads() > kMaxThreads) {
    return config::FieldError("threads",
                              "must be in [1, 1024], got " + std::to_string(config.threads()));
  }
  if (config.max_memory_bytes() < kMinMemoryBytes) {
    return config::FieldError("max_memory_bytes",
                              "must be at least " + std::to_string(kMinMemoryBytes) +
                                  " (16 MiB), got " + std::to_string(config.max_memory_bytes()));
  }
  if (!config.proxy().empty() && config.proxy() != "none" &&
      !config.proxy().starts_with("http://")) {
    return config::FieldError("proxy", "must be http://host:port or none");
  }
  const StatusOr<log::Options> log_options =
      log::ParseOptions(config.log().level(), config.log().format(), config.log().file());
  if (!log_options.ok()) return config::FieldError("log", MessageOf(log_options.status()));
  if (!config.metrics_listen().empty()) {
    CHORALE_RETURN_IF_ERROR(CheckAddress("metrics_listen", config.metrics_listen()));
  }
  CHORALE_RETURN_IF_ERROR(CheckDatasets(config));
  return CheckPolicy(config);
}

StatusOr<v1::SiteConfig> LoadSiteConfig(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(const std::string text, storage::ReadFile(path, kMaxConfigBytes));
  v1::SiteConfig site;
  CHORALE_RETURN_IF_ERROR(config::ParseYaml(text, path.string(), site));
  FillDefaults(site);
  if (Status status = Validate(site); !status.ok()) {
    return config::Locate(status, text, path.string());
  }
  std::error_code error;
  const std::filesystem::path directory = std::filesystem::absolute(path, error).parent_path();
  site.set_state_directory(Resolve(directory, site.state_directory()));
  site.set_identity_directory(Resolve(directory, site.identity_directory()));
  site.mutable_log()->set_file(Resolve(directory, site.log().file()));
  return site;
}

}  // namespace chorale::site_agent
