#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "chorale/v1/config.pb.h"
#include "core/status.h"

// coordinator.yaml.
namespace chorale::coordinator {

// Reads the file, fills in the defaults of config.proto and validates. Relative paths start at the
// file's directory. INVALID_ARGUMENT messages read "FILE:LINE: KEY bound, value"; NOT_FOUND when
// there is no file.
[[nodiscard]] StatusOr<v1::CoordinatorConfig> LoadConfig(const std::filesystem::path& path);

// INVALID_ARGUMENT as a config::FieldError. `config` has its defaults.
[[nodiscard]] Status Validate(const v1::CoordinatorConfig& config);

// What config.proto calls default, wherever nothing is set.
[[nodiscard]] v1::CoordinatorConfig WithDefaults(v1::CoordinatorConfig config);

}  // namespace chorale::coordinator
