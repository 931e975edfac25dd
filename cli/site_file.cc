#include "cli/site_file.h"

#include <google/protobuf/util/message_differencer.h>

#include <array>
#include <functional>
#include <string_view>

#include "cli/yaml_edit.h"
#include "core/bytes.h"
#include "core/config/yaml.h"
#include "core/config/yaml_writer.h"
#include "core/storage/file.h"
#include "site_agent/config.h"

namespace chorale::cli {
namespace {

constexpr std::uint64_t kMaxFileBytes = 1 << 20;

// Reads, edits, compares, replaces. `expect` turns the old content into what the new text must
// mean.
Status Edit(const std::filesystem::path& directory, std::span<const std::string_view> list,
            const std::string& item, const std::function<Status(v1::SiteConfig&)>& expect) {
  std::error_code error;
  std::filesystem::path file = SiteFilePath(directory);
  // A link stays a link: what it points to is replaced.
  if (const auto target = std::filesystem::canonical(file, error); !error) file = target;
  CHORALE_ASSIGN_OR_RETURN(v1::SiteConfig expected, LoadSiteFile(directory));
  CHORALE_RETURN_IF_ERROR(expect(expected));
  CHORALE_ASSIGN_OR_RETURN(const std::string old_text, storage::ReadFile(file, kMaxFileBytes));
  auto new_text = AppendListItem(old_text, list, item);
  if (!new_text.ok()) return Annotate(new_text.status(), file.string());

  v1::SiteConfig parsed;
  const Status status = config::ParseYaml(*new_text, file.string(), parsed);
  if (!status.ok() || !google::protobuf::util::MessageDifferencer::Equals(parsed, expected)) {
    return FailedPrecondition(
        file.string() +
        " is laid out in a way that this command cannot add to; nothing was changed; "
        "add this by hand:\n" +
        item);
  }
  site_agent::FillDefaults(parsed);
  if (const Status bounds = site_agent::Validate(parsed);
      bounds.code() == StatusCode::kInvalidArgument) {
    return Annotate(bounds, "nothing was added");
  }
  const auto permissions = std::filesystem::status(file, error).permissions();
  const bool is_private =
      !error && (permissions & std::filesystem::perms::others_read) == std::filesystem::perms::none;
  return storage::WriteFileAtomically(
      file, AsBytes(*new_text),
      is_private ? storage::FileMode::kPrivate : storage::FileMode::kPublic);
}

}  // namespace

std::filesystem::path SiteFilePath(const std::filesystem::path& directory) {
  return directory / "site.yaml";
}

std::string RenderSiteFile(const std::string& coordinator) {
  v1::SiteConfig address;
  address.set_coordinator(coordinator);
  return "# A site of a Chorale federation. Whatever is not allowed below is refused.\n"
         "# Check it with `chorale site check`; every key is explained in docs/operations.md.\n"
         "\n"
         "# The coordinator's address. The agent dials out to it and listens to nobody.\n" +
         config::ToYaml(address) +
         "\n"
         "# Work in progress and the journal of what left the site. One agent at a time. Paths "
         "start at this file.\n"
         "state_directory: state\n"
         "# What `chorale site enrol` writes: keys, certificate, the federation's root. Never copy "
         "it elsewhere.\n"
         "identity_directory: identity\n"
         "\n"
         "# Where training runs: auto (CUDA where there is one), cpu, cuda, cuda:N.\n"
         "device: auto\n"
         "# Cores for training. Default: all of the machine.\n"
         "# threads: 4\n"
         "# HTTP proxy to the outside. Default: https_proxy or HTTPS_PROXY of the environment; "
         "\"none\" ignores them.\n"
         "# proxy: \"http://proxy.hospital.example:3128\"\n"
         "# Prometheus metrics. Default: none.\n"
         "# metrics_listen: \"127.0.0.1:9464\"\n"
         "\n"
         "log:\n"
         "  level: info   # debug, info, warning, error; CHORALE_LOG wins\n"
         "  format: text  # or json\n"
         "\n"
         "# The tables that jobs may name. Add one with `chorale site dataset add`:\n"
         "#   - id: heart-disease\n"
         "#     csv:\n"
         "#       path: /srv/data/heart.csv\n"
         "#     split_column: split        # holds train or test\n"
         "datasets: []\n"
         "\n"
         "# Who may do what with them. A task is taken only when one rule allows every part of it. "
         "Add one with\n"
         "# `chorale site allow`:\n"
         "#     - researchers: [alice]\n"
         "#       datasets: [heart-disease]\n"
         "#       models: [logistic_regression]\n"
         "#       metrics: [loss]          # that may leave the site; none by default\n"
         "#       sums: [newton]           # that tell more of rows than an update; none by "
         "default\n"
         "#       max_parameters: 10000\n"
         "#       max_rounds: 50\n"
         "#       max_local_epochs: 5\n"
         "#       min_examples: 10         # training rows below which the site refuses\n"
         "policy:\n"
         "  allow: []\n";
}

StatusOr<v1::SiteConfig> LoadSiteFile(const std::filesystem::path& directory) {
  const std::filesystem::path file = SiteFilePath(directory);
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return NotFound("there is no " + file.string() + "; make one with `chorale site init --dir " +
                    directory.string() + " --coordinator HOST:PORT`");
  }
  v1::SiteConfig config;
  CHORALE_RETURN_IF_ERROR(config::LoadYaml(file.string(), config));
  return config;
}

StatusOr<std::filesystem::path> SiteIdentityDirectory(const std::filesystem::path& directory) {
  std::error_code error;
  if (!std::filesystem::exists(SiteFilePath(directory), error)) return directory / "identity";
  CHORALE_ASSIGN_OR_RETURN(v1::SiteConfig config, LoadSiteFile(directory));
  site_agent::FillDefaults(config);
  return directory /
         config.identity_directory();  // An absolute path replaces what stands before it.
}

Status AddDataset(const std::filesystem::path& directory, const v1::DatasetConfig& dataset) {
  constexpr std::array<std::string_view, 1> kList = {"datasets"};
  return Edit(directory, kList, ToListItem(dataset), [&dataset](v1::SiteConfig& config) -> Status {
    for (const v1::DatasetConfig& other : config.datasets()) {
      if (other.id() == dataset.id()) {
        return AlreadyExists("site.yaml has a dataset '" + dataset.id() +
                             "' already; choose another --id, or edit the file by hand");
      }
    }
    *config.add_datasets() = dataset;
    return OkStatus();
  });
}

Status AddPolicyRule(const std::filesystem::path& directory, const v1::PolicyRule& rule) {
  constexpr std::array<std::string_view, 2> kList = {"policy", "allow"};
  return Edit(directory, kList, ToListItem(rule), [&rule](v1::SiteConfig& config) -> Status {
    *config.mutable_policy()->add_allow() = rule;
    return OkStatus();
  });
}

}  // namespace chorale::cli
