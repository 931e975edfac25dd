#include "evaluation/inputs.h"

#include <utility>

#include "chorale/v1/config.pb.h"
#include "core/config/yaml.h"
#include "core/ids.h"
#include "jobs/job_spec.h"
#include "models/safetensors.h"

namespace chorale::evaluation {
namespace {

constexpr std::uint64_t kHeaderAllowance =
    100u << 20;  // The largest header that safetensors files may have.

std::string IdsOf(const v1::SiteConfig& config) {
  std::string ids;
  for (const v1::DatasetConfig& dataset : config.datasets())
    ids += (ids.empty() ? "" : ", ") + dataset.id();
  return ids.empty() ? "none" : ids;
}

StatusOr<data::Dataset> Load(const SiteFile& site, const v1::JobSpec& job,
                             const std::optional<std::filesystem::path>& config_directory) {
  v1::SiteConfig config;
  CHORALE_RETURN_IF_ERROR(config::LoadYaml(site.path.string(), config));
  const std::filesystem::path directory = config_directory.value_or(site.path.parent_path());
  for (const v1::DatasetConfig& dataset : config.datasets()) {
    if (dataset.id() == job.dataset()) return data::Dataset::Load(dataset, directory, job.data());
  }
  return InvalidArgument(site.path.string() + " has no dataset " + job.dataset() +
                         "; it has: " + IdsOf(config));
}

}  // namespace

StatusOr<SiteFile> ParseSiteFile(std::string_view argument) {
  const std::size_t equals = argument.find('=');
  if (equals == std::string_view::npos || equals + 1 == argument.size()) {
    return InvalidArgument("a site must be given as NAME=PATH of its site.yaml, got \"" +
                           std::string(argument) + "\"");
  }
  SiteFile site{.name = std::string(argument.substr(0, equals)),
                .path = argument.substr(equals + 1)};
  CHORALE_RETURN_IF_ERROR(ValidateName("site", site.name));
  return site;
}

StatusOr<data::Dataset> LoadSiteDataset(
    const SiteFile& site, const v1::JobSpec& job,
    const std::optional<std::filesystem::path>& config_directory) {
  StatusOr<data::Dataset> dataset = Load(site, job, config_directory);
  if (!dataset.ok()) return Annotate(dataset.status(), "site " + site.name);
  return dataset;
}

StatusOr<ParameterVector> LoadFederatedModel(const std::filesystem::path& path,
                                             const v1::JobSpec& job) {
  CHORALE_ASSIGN_OR_RETURN(const ParameterLayout layout, jobs::LayoutOf(job));
  CHORALE_ASSIGN_OR_RETURN(models::SafetensorsContent content,
                           models::LoadSafetensors(path, layout.size_bytes() + kHeaderAllowance));
  if (content.layout != layout) {
    return InvalidArgument(
        path.string() + " does not hold the job's model: names, order or shapes of its " +
        std::to_string(content.layout.tensors().size()) + " tensors differ from the " +
        std::to_string(layout.tensors().size()) + " of the job");
  }
  if (!AllFinite(content.values))
    return InvalidArgument(path.string() + " holds a weight that is NaN or infinite");
  return std::move(content.values);
}

}  // namespace chorale::evaluation
