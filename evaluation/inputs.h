#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "chorale/v1/jobs.pb.h"
#include "core/parameters.h"
#include "core/status.h"
#include "data/dataset.h"

// What an evaluator brings: every site's table and the federated model.
namespace chorale::evaluation {

// A site's name and its site.yaml.
struct SiteFile {
  std::string name;
  std::filesystem::path path;
};

// From "NAME=PATH". INVALID_ARGUMENT: another form, or a name that no site can have.
[[nodiscard]] StatusOr<SiteFile> ParseSiteFile(std::string_view argument);

// The job's dataset as that site.yaml configures it. A relative path of a table starts at
// `config_directory`, or where site.yaml lies. Messages begin with the site's name.
// INVALID_ARGUMENT: no such dataset there; also the errors of config::LoadYaml and
// data::Dataset::Load.
[[nodiscard]] StatusOr<data::Dataset> LoadSiteDataset(
    const SiteFile& site, const v1::JobSpec& job,
    const std::optional<std::filesystem::path>& config_directory);

// The weights of a safetensors file. INVALID_ARGUMENT: names or shapes other than the job's model
// has, values that are not finite; also the errors of models::LoadSafetensors.
[[nodiscard]] StatusOr<ParameterVector> LoadFederatedModel(const std::filesystem::path& path,
                                                           const v1::JobSpec& job);

}  // namespace chorale::evaluation
