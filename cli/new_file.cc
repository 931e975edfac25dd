#include "cli/new_file.h"

#include <string>

#include "core/bytes.h"
#include "core/storage/file.h"

namespace chorale::cli {

Status WriteNewFile(const std::filesystem::path& file, std::string_view text) {
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    return AlreadyExists(file.string() +
                         " exists already and was left as it is; remove it first to start again");
  }
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(file.parent_path()));
  return storage::WriteFileAtomically(file, AsBytes(text), storage::FileMode::kPublic);
}

std::filesystem::path Absolute(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path absolute = std::filesystem::absolute(path, error).lexically_normal();
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

}  // namespace chorale::cli
