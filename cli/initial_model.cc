#include "cli/initial_model.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/config/yaml.h"
#include "models/safetensors.h"

namespace chorale::cli {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 101'000'000;  // What a file has beside its weights.

std::string TextOf(const std::vector<std::uint64_t>& shape) {
  std::string text;
  for (const std::uint64_t dimension : shape) {
    text += (text.empty() ? "" : ", ") + std::to_string(dimension);
  }
  return "[" + text + "]";
}

Status Problem(const std::filesystem::path& path, const std::string& problem) {
  return config::FieldError("initial_model.file", path.string() + " " + problem);
}

}  // namespace

StatusOr<ParameterVector> LoadInitialModel(const std::filesystem::path& path,
                                           const ParameterLayout& layout) {
  CHORALE_ASSIGN_OR_RETURN(const models::SafetensorsContent file,
                           models::LoadSafetensors(path, layout.size_bytes() + kMaxHeaderBytes));
  std::map<std::string, const TensorLayout*> found;
  for (const TensorLayout& tensor : file.layout.tensors()) found.emplace(tensor.name, &tensor);

  ParameterVector values(layout.num_parameters());
  for (const TensorLayout& wanted : layout.tensors()) {
    const auto tensor = found.find(wanted.name);
    if (tensor == found.end()) return Problem(path, "has no tensor \"" + wanted.name + "\"");
    const TensorLayout& given = *tensor->second;
    if (given.shape != wanted.shape) {
      return Problem(path, "has the tensor \"" + wanted.name + "\" of shape " +
                               TextOf(given.shape) + ", the model's has " + TextOf(wanted.shape));
    }
    const std::span<const float> numbers = std::span(file.values).subspan(given.offset, given.size);
    if (!AllFinite(numbers)) {
      return Problem(path, "has a number that is infinite or none in \"" + wanted.name + "\"");
    }
    std::copy(numbers.begin(), numbers.end(),
              values.begin() + static_cast<std::ptrdiff_t>(wanted.offset));
    found.erase(tensor);
  }
  if (found.empty()) return values;
  return Problem(path,
                 "has the tensor \"" + found.begin()->first + "\", which is none of the model's");
}

}  // namespace chorale::cli
