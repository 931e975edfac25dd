#pragma once

#include <filesystem>

#include "chorale/v1/config.pb.h"
#include "core/status.h"

// site.yaml: what the hospital wrote, checked once and complete afterwards.
namespace chorale::site_agent {

// Reads the file, fills in every default and checks every bound. Relative paths of directories and
// of the log start at the file's own directory; dataset paths stay as written (the dataset cache
// resolves them alike). Errors read "FILE:LINE: KEY ...":
//   NOT_FOUND            there is no such file
//   INVALID_ARGUMENT     a key, a type or a bound
//   FAILED_PRECONDITION  no rule allows anything, so that the agent has nothing to do
[[nodiscard]] StatusOr<v1::SiteConfig> LoadSiteConfig(const std::filesystem::path& path);

// Defaults alone, for configurations that programs make. Directories that are empty become
// $XDG_STATE_HOME/chorale/site and its folder `identity`.
void FillDefaults(v1::SiteConfig& config);

// Bounds alone: config::FieldErrors. REQUIRES: FillDefaults.
[[nodiscard]] Status Validate(const v1::SiteConfig& config);

}  // namespace chorale::site_agent
