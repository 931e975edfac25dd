#include "data/data_spec.h"

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/config/yaml.h"
#include "data/values.h"

namespace chorale::data {
namespace {

constexpr int kMaxFeatures = 4096;
constexpr int kMaxLevels = 256;
constexpr int kMaxPositive = 16;
constexpr std::size_t kMaxTextBytes = 256;

Status ValidateText(const std::string& text, const std::string& field) {
  if (text.empty() || text.size() > kMaxTextBytes || !IsSafeToShow(text)) {
    return config::FieldError(field, "must have 1 to 256 bytes and no control characters");
  }
  return OkStatus();
}

using Texts = google::protobuf::RepeatedPtrField<std::string>;

// Values of which there are `least` to `most`, each sound and no two the same.
Status ValidateValues(const Texts& texts, const std::string& field, int least, int most) {
  if (texts.size() < least || texts.size() > most) {
    return config::FieldError(field, "must have " + std::to_string(least) + " to " +
                                         std::to_string(most) + " values, got " +
                                         std::to_string(texts.size()));
  }
  for (int i = 0; i < texts.size(); ++i) {
    CHORALE_RETURN_IF_ERROR(ValidateText(texts[i], field + "[" + std::to_string(i) + "]"));
  }
  const ValueList values(std::vector<std::string>(texts.begin(), texts.end()));
  if (const std::optional<std::size_t> repeated = values.FindRepeated()) {
    return config::FieldError(field + "[" + std::to_string(*repeated) + "]",
                              "is the same value as an earlier one");
  }
  return OkStatus();
}

Status ValidateFeature(const v1::FeatureSpec& feature, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(ValidateText(feature.column(), field + ".column"));
  switch (feature.kind_case()) {
    case v1::FeatureSpec::kNumeric:
      return OkStatus();
    case v1::FeatureSpec::kCategorical:
      return ValidateValues(feature.categorical().levels(), field + ".categorical.levels", 2,
                            kMaxLevels);
    case v1::FeatureSpec::KIND_NOT_SET:
      break;
  }
  return config::FieldError(field, "must be numeric or categorical, got neither");
}

}  // namespace

std::size_t NumInputs(const v1::DataSpec& spec) {
  std::size_t count = 0;
  for (const v1::FeatureSpec& feature : spec.features()) {
    const int levels = feature.categorical().levels_size();
    count += feature.has_categorical() ? static_cast<std::size_t>(std::max(levels - 1, 0)) : 1;
  }
  return count;
}

std::size_t NumNumericFeatures(const v1::DataSpec& spec) {
  return static_cast<std::size_t>(
      std::count_if(spec.features().begin(), spec.features().end(),
                    [](const v1::FeatureSpec& feature) { return feature.has_numeric(); }));
}

Status Validate(const v1::DataSpec& spec, std::string_view field) {
  const std::string prefix = std::string(field) + ".";
  if (spec.features_size() < 1 || spec.features_size() > kMaxFeatures) {
    return config::FieldError(prefix + "features", "must have 1 to 4096 features, got " +
                                                       std::to_string(spec.features_size()));
  }
  std::unordered_map<std::string_view, int> seen;
  for (int i = 0; i < spec.features_size(); ++i) {
    const std::string path = prefix + "features[" + std::to_string(i) + "]";
    CHORALE_RETURN_IF_ERROR(ValidateFeature(spec.features(i), path));
    const auto [first, is_new] = seen.emplace(spec.features(i).column(), i);
    if (!is_new) {
      return config::FieldError(path + ".column", "names the column of features[" +
                                                      std::to_string(first->second) + "] again");
    }
  }
  CHORALE_RETURN_IF_ERROR(ValidateText(spec.target().column(), prefix + "target.column"));
  if (const auto feature = seen.find(spec.target().column()); feature != seen.end()) {
    return config::FieldError(prefix + "target.column",
                              "is features[" + std::to_string(feature->second) +
                                  "] too: a model that sees its target learns nothing");
  }
  CHORALE_RETURN_IF_ERROR(
      ValidateValues(spec.target().positive(), prefix + "target.positive", 1, kMaxPositive));
  if (spec.standardization() == v1::STANDARDIZATION_UNSPECIFIED ||
      !v1::Standardization_IsValid(spec.standardization())) {
    return config::FieldError(prefix + "standardization", "must be none, per_site or federated");
  }
  return OkStatus();
}

}  // namespace chorale::data
