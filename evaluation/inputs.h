#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "chorale/v1/jobs.pb.h"
#include "core/crypto/blob_digest.h"
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

// Weights of the job's model, with what they are called as a blob.
struct LoadedModel {
  ParameterVector parameters;  // [num_parameters]; rounded, where the file has float64.
  crypto::BlobId blob;         // Of the numbers as they travelled.
};

// The weights of a safetensors file: float64 of a newton job, else float32. INVALID_ARGUMENT: names
// or shapes other than the job's model has, values that are not finite, or beyond float32; also the
// errors of models::LoadSafetensors.
[[nodiscard]] StatusOr<LoadedModel> LoadFederatedModel(const std::filesystem::path& path,
                                                       const v1::JobSpec& job);

// What the job started from: its initial_model, whose relative path starts where the job's file
// lies. Empty without one. Errors as LoadFederatedModel; also when the file has changed since the
// job `ran`, if that is given.
[[nodiscard]] StatusOr<ParameterVector> LoadInitialModel(const std::filesystem::path& job_file,
                                                         const v1::JobSpec& job,
                                                         const v1::JobSpec* ran);

}  // namespace chorale::evaluation
