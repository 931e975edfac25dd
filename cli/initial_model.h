#pragma once

#include <filesystem>

#include "core/parameters.h"
#include "core/status.h"

namespace chorale::cli {

// The weights of a safetensors file as a job's model lays them out, whatever their order in the
// file. INVALID_ARGUMENT, naming the first tensor at fault: one that the model has and the file has
// not, or the other way round; another shape; a number that is not finite. Else as
// models::LoadSafetensors.
[[nodiscard]] StatusOr<ParameterVector> LoadInitialModel(const std::filesystem::path& path,
                                                         const ParameterLayout& layout);

}  // namespace chorale::cli
