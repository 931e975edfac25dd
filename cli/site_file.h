#pragma once

#include <filesystem>
#include <string>

#include "chorale/v1/config.pb.h"
#include "core/status.h"

// site.yaml in a site's directory: made, read, and added to.
namespace chorale::cli {

[[nodiscard]] std::filesystem::path SiteFilePath(const std::filesystem::path& directory);

// A commented site.yaml that offers nothing and allows nothing.
[[nodiscard]] std::string RenderSiteFile(const std::string& coordinator);

// NOT_FOUND with the command to run first.
[[nodiscard]] StatusOr<v1::SiteConfig> LoadSiteFile(const std::filesystem::path& directory);
// Where the identity of a site lies: as site.yaml says, a relative path below the directory. Its
// folder "identity" where there is no site.yaml yet.
[[nodiscard]] StatusOr<std::filesystem::path> SiteIdentityDirectory(
    const std::filesystem::path& directory);

// Insert a dataset or a policy rule, keeping everything else of the file to the letter. The new
// text is parsed before it replaces the old, atomically, and must mean the old content plus the
// addition.
[[nodiscard]] Status AddDataset(const std::filesystem::path& directory,
                                const v1::DatasetConfig& dataset);
[[nodiscard]] Status AddPolicyRule(const std::filesystem::path& directory,
                                   const v1::PolicyRule& rule);

}  // namespace chorale::cli
