#include "data/array_files.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "core/config/yaml.h"

namespace chorale::data {
namespace {

constexpr int kMaxArrays = 16;

// "[28, 28]"
template <typename Numbers>
std::string TextOf(const Numbers& numbers) {
  std::string text = "[";
  for (const std::uint64_t number : numbers) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(number);
  }
  return text + "]";
}

bool IsShapeOf(const v1::ArrayFeature& feature, const std::vector<std::uint64_t>& of_row) {
  const auto begin = feature.shape().begin();
  const auto end = feature.shape().end();
  return std::equal(begin, end, of_row.begin(), of_row.end()) ||
         (begin != end && *begin == 1 && std::equal(begin + 1, end, of_row.begin(), of_row.end()));
}

}  // namespace

Status ValidateArrays(const v1::DatasetConfig& config, std::string_view field) {
  const std::string arrays = (field.empty() ? "" : std::string(field) + ".") + "arrays";
  if (config.arrays_size() > kMaxArrays) {
    return config::FieldError(
        arrays, "must hold at most 16 files, got " + std::to_string(config.arrays_size()));
  }
  std::set<std::string_view> columns;
  for (int i = 0; i < config.arrays_size(); ++i) {
    const std::string element = arrays + "[" + std::to_string(i) + "]";
    if (config.arrays(i).column().empty()) {
      return config::FieldError(element + ".column", "must name a column, got nothing");
    }
    if (!columns.insert(config.arrays(i).column()).second) {
      return config::FieldError(
          element + ".column",
          "must be unique, got \"" + config.arrays(i).column() + "\" a second time");
    }
    if (config.arrays(i).path().empty()) {
      return config::FieldError(element + ".path", "must name a file, got nothing");
    }
  }
  return OkStatus();
}

StatusOr<std::shared_ptr<const NpyFile>> OpenArray(const v1::DatasetConfig& config,
                                                   const std::filesystem::path& config_directory,
                                                   const v1::FeatureSpec& feature,
                                                   std::string_view field) {
  const auto found =
      std::find_if(config.arrays().begin(), config.arrays().end(),
                   [&](const v1::ArrayFile& file) { return file.column() == feature.column(); });
  if (found == config.arrays().end()) {
    return config::FieldError(std::string(field) + ".array",
                              "must have a file: this dataset lists none for column '" +
                                  feature.column() + "' under arrays");
  }
  CHORALE_ASSIGN_OR_RETURN(std::shared_ptr<const NpyFile> file,
                           NpyFile::Open(config_directory / found->path()));
  const std::vector<std::uint64_t>& shape = file->header().shape;
  const std::vector<std::uint64_t> of_row(shape.begin() + 1, shape.end());
  if (!IsShapeOf(feature.array(), of_row)) {
    return config::FieldError(std::string(field) + ".array.shape",
                              "must be that of one row of the site's file, " + TextOf(of_row) +
                                  ", got " + TextOf(feature.array().shape()));
  }
  return file;
}

}  // namespace chorale::data
