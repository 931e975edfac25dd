#include "evaluation/inputs.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "chorale/v1/config.pb.h"
#include "core/bytes.h"
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

Status CheckLayout(const ParameterLayout& layout, const models::GraphPlan& plan,
                   const std::filesystem::path& path) {
  if (layout == plan.layout()) return OkStatus();
  return InvalidArgument(path.string() +
                         " does not hold the job's model: names, order or shapes of its " +
                         std::to_string(layout.tensors().size()) + " tensors differ from the " +
                         std::to_string(plan.layout().tensors().size()) + " of the job");
}

// The tensors in the order of `layout`, by name.
StatusOr<ParameterVector> Rearrange(const models::SafetensorsContent& content,
                                    const ParameterLayout& layout,
                                    const std::filesystem::path& path) {
  ParameterVector values;
  for (const TensorLayout& wanted : layout.tensors()) {
    const auto& given = content.layout.tensors();
    const auto tensor = std::find_if(given.begin(), given.end(), [&](const TensorLayout& own) {
      return own.name == wanted.name && own.shape == wanted.shape;
    });
    if (tensor == given.end()) {
      return InvalidArgument(path.string() + " has no tensor '" + wanted.name +
                             "' of the shape that the job's model has");
    }
    const auto first = content.values.begin() + static_cast<std::ptrdiff_t>(tensor->offset);
    values.insert(values.end(), first, first + static_cast<std::ptrdiff_t>(tensor->size));
  }
  return values;
}

Status CheckFinite(std::span<const float> values, const std::filesystem::path& path) {
  if (AllFinite(values)) return OkStatus();
  return InvalidArgument(path.string() + " holds a weight that is NaN or infinite");
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

StatusOr<LoadedModel> LoadFederatedModel(const std::filesystem::path& path,
                                         const v1::JobSpec& job) {
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan plan, jobs::PlanOf(job));
  const std::uint64_t max_bytes =
      plan.layout().num_parameters() * jobs::BytesPerParameter(job) + kHeaderAllowance;
  if (!job.has_newton()) {
    CHORALE_ASSIGN_OR_RETURN(models::SafetensorsContent content,
                             models::LoadSafetensors(path, max_bytes));
    CHORALE_RETURN_IF_ERROR(CheckLayout(content.layout, plan, path));
    CHORALE_RETURN_IF_ERROR(CheckFinite(content.values, path));
    const crypto::BlobId blob =
        crypto::IdentifyBlob(AsBytes(std::span<const float>(content.values)));
    return LoadedModel{.parameters = std::move(content.values), .blob = blob};
  }
  CHORALE_ASSIGN_OR_RETURN(const models::ExactSafetensorsContent content,
                           models::LoadExactSafetensors(path, max_bytes));
  CHORALE_RETURN_IF_ERROR(CheckLayout(content.layout, plan, path));
  LoadedModel model{.parameters = {},
                    .blob = crypto::IdentifyBlob(AsBytes(std::span<const double>(content.values)))};
  for (const double value : content.values) {
    model.parameters.push_back(static_cast<float>(value));
  }
  CHORALE_RETURN_IF_ERROR(CheckFinite(model.parameters, path));
  return model;
}

StatusOr<ParameterVector> LoadInitialModel(const std::filesystem::path& job_file,
                                           const v1::JobSpec& job, const v1::JobSpec* ran) {
  if (!job.has_initial_model()) return ParameterVector();
  const std::filesystem::path path = job_file.parent_path() / job.initial_model().file();
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan plan, jobs::PlanOf(job));
  CHORALE_ASSIGN_OR_RETURN(
      const models::SafetensorsContent content,
      models::LoadSafetensors(path, plan.layout().size_bytes() + kHeaderAllowance));
  CHORALE_ASSIGN_OR_RETURN(ParameterVector parameters, Rearrange(content, plan.layout(), path));
  CHORALE_RETURN_IF_ERROR(CheckFinite(parameters, path));
  const crypto::BlobId blob = crypto::IdentifyBlob(AsBytes(std::span<const float>(parameters)));
  if (ran != nullptr && ran->initial_model().has_weights() &&
      ToHex(blob.digest) != ToHex(AsBytes(ran->initial_model().weights().digest()))) {
    return InvalidArgument(path.string() + " holds other weights than the job started from");
  }
  return parameters;
}

}  // namespace chorale::evaluation
