#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/npy_reader.h"

// The files that a site keeps beside its table, and what a job's array features find in them.
namespace chorale::data {

// INVALID_ARGUMENT as a config::FieldError below `field` ("datasets[0]"): over 16 array files, one
// without column or path, a column that has two. The files themselves are not looked at.
[[nodiscard]] Status ValidateArrays(const v1::DatasetConfig& config, std::string_view field);

// The configured file for the column of `feature`, opened; a relative path starts at
// `config_directory`. Its shape behind the first axis is that of the feature; the feature may have
// one channel more, in front: [1, 28, 28] for a file of [rows, 28, 28].
// INVALID_ARGUMENT as a config::FieldError below `field` ("data.features[0]"): no such file is
// configured, another shape. Else the errors of NpyFile::Open.
[[nodiscard]] StatusOr<std::shared_ptr<const NpyFile>> OpenArray(
    const v1::DatasetConfig& config, const std::filesystem::path& config_directory,
    const v1::FeatureSpec& feature, std::string_view field);

}  // namespace chorale::data
