#include "data/data_spec.h"

#include <algorithm>
#include <cmath>
#include <limits>
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
constexpr int kMaxClasses = 65536;
constexpr int kMaxAxes = 4;
constexpr std::uint64_t kMaxNumbers = std::uint64_t{1} << 24;
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

Status ValidateRange(const v1::NumericFeature& numeric, const v1::DataSpec& spec,
                     const std::string& field) {
  if (!HasRanges(spec.standardization())) {
    if (!numeric.has_range()) return OkStatus();
    return config::FieldError(field + ".range", "needs standardization range or federated_private");
  }
  if (!numeric.has_range()) {
    return config::FieldError(field + ".range",
                              "is required with standardization range and federated_private: "
                              "{low: ..., high: ...}, known without looking at any row");
  }
  const double low = numeric.range().low();
  const double high = numeric.range().high();
  if (!std::isfinite(low) || !std::isfinite(high) || !(low < high) || !std::isfinite(high - low)) {
    return config::FieldError(field + ".range", "must have a finite low below a finite high");
  }
  if (numeric.impute() == v1::IMPUTATION_UNSPECIFIED || numeric.impute() == v1::IMPUTATION_MIDDLE) {
    return OkStatus();
  }
  if (spec.standardization() == v1::STANDARDIZATION_FEDERATED_PRIVATE) {
    if (numeric.impute() == v1::IMPUTATION_MEAN) return OkStatus();
    return config::FieldError(field + ".impute",
                              "must be mean or middle with standardization federated_private: no "
                              "noisy sum tells a median");
  }
  return config::FieldError(field + ".impute",
                            "must be middle with standardization range: any other value would be "
                            "computed from the rows");
}

Status ValidateNumeric(const v1::NumericFeature& numeric, const v1::DataSpec& spec,
                       const std::string& field) {
  if (!v1::Imputation_IsValid(numeric.impute())) {
    return config::FieldError(field + ".impute", "must be mean, median or middle");
  }
  CHORALE_RETURN_IF_ERROR(ValidateRange(numeric, spec, field));
  if (numeric.impute() == v1::IMPUTATION_MIDDLE && !HasRanges(spec.standardization())) {
    return config::FieldError(field + ".impute",
                              "middle needs standardization range or federated_private");
  }
  if (numeric.impute() == v1::IMPUTATION_MEDIAN && !IsFederated(spec.standardization())) {
    return config::FieldError(field + ".impute",
                              "median needs standardization federated or federated_robust: it "
                              "comes from the preparation round");
  }
  if (numeric.missing_indicator() && numeric.impute() == v1::IMPUTATION_UNSPECIFIED) {
    return config::FieldError(field + ".missing_indicator",
                              "needs impute: without it no row lacks the value");
  }
  return OkStatus();
}

Status ValidateArray(const v1::ArrayFeature& array, const std::string& field) {
  if (array.shape_size() < 1 || array.shape_size() > kMaxAxes) {
    return config::FieldError(
        field + ".shape", "must have 1 to 4 dimensions, got " + std::to_string(array.shape_size()));
  }
  const std::uint64_t numbers = NumNumbers(array);
  if (numbers < 1 || numbers > kMaxNumbers) {
    return config::FieldError(field + ".shape",
                              "must have dimensions of at least 1, together at most 16777216 "
                              "numbers");
  }
  return OkStatus();
}

Status ValidateFeature(const v1::FeatureSpec& feature, const v1::DataSpec& spec,
                       const std::string& field) {
  CHORALE_RETURN_IF_ERROR(ValidateText(feature.column(), field + ".column"));
  switch (feature.kind_case()) {
    case v1::FeatureSpec::kNumeric:
      return ValidateNumeric(feature.numeric(), spec, field + ".numeric");
    case v1::FeatureSpec::kCategorical:
      return ValidateValues(feature.categorical().levels(), field + ".categorical.levels", 2,
                            kMaxLevels);
    case v1::FeatureSpec::kArray:
      return ValidateArray(feature.array(), field + ".array");
    case v1::FeatureSpec::KIND_NOT_SET:
      break;
  }
  return config::FieldError(field, "must be numeric, categorical or array, got none of them");
}

Status ValidateTarget(const v1::TargetSpec& target, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(ValidateText(target.column(), field + ".column"));
  if (target.has_survival() && target.positive().empty()) {
    return config::FieldError(field + ".survival",
                              "needs positive: the values of column that mean an event");
  }
  const int kinds =
      int{!target.positive().empty()} + int{!target.classes().empty()} + int{target.has_numeric()};
  if (kinds != 1) {
    return config::FieldError(
        field,
        "must have exactly one of positive, classes and numeric, got " + std::to_string(kinds));
  }
  if (!target.classes().empty()) {
    return ValidateValues(target.classes(), field + ".classes", 2, kMaxClasses);
  }
  if (target.has_numeric()) return OkStatus();
  CHORALE_RETURN_IF_ERROR(ValidateValues(target.positive(), field + ".positive", 1, kMaxPositive));
  if (!target.has_survival()) return OkStatus();
  const std::string time_field = field + ".survival.time_column";
  CHORALE_RETURN_IF_ERROR(ValidateText(target.survival().time_column(), time_field));
  if (target.survival().time_column() == target.column()) {
    return config::FieldError(time_field, "must be another column than the event's");
  }
  return OkStatus();
}

// The features by column.
using Columns = std::unordered_map<std::string_view, int>;

Status RefuseFeature(const Columns& features, const std::string& column, const std::string& field) {
  const auto feature = features.find(column);
  if (feature == features.end()) return OkStatus();
  return config::FieldError(field, "is features[" + std::to_string(feature->second) +
                                       "] too: a model that sees its target learns nothing");
}

std::size_t NumInputsOf(const v1::FeatureSpec& feature) {
  if (feature.has_array()) return static_cast<std::size_t>(NumNumbers(feature.array()));
  if (!feature.has_categorical()) return feature.numeric().missing_indicator() ? 2 : 1;
  return static_cast<std::size_t>(std::max(feature.categorical().levels_size() - 1, 0));
}

}  // namespace

std::uint64_t NumNumbers(const v1::ArrayFeature& feature) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  const auto& shape = feature.shape();
  if (std::find(shape.begin(), shape.end(), 0u) != shape.end()) return 0;
  std::uint64_t numbers = 1;
  for (const std::uint64_t size : shape) {
    if (numbers > kMost / size) return kMost;
    numbers *= size;
  }
  return numbers;
}

std::size_t NumInputs(const v1::DataSpec& spec) {
  std::size_t count = 0;
  for (const v1::FeatureSpec& feature : spec.features()) {
    const std::size_t more = NumInputsOf(feature);
    count = more > std::numeric_limits<std::size_t>::max() - count
                ? std::numeric_limits<std::size_t>::max()
                : count + more;
  }
  return count;
}

std::size_t NumNumericFeatures(const v1::DataSpec& spec) {
  return static_cast<std::size_t>(
      std::count_if(spec.features().begin(), spec.features().end(),
                    [](const v1::FeatureSpec& feature) { return feature.has_numeric(); }));
}

TargetKind TargetKindOf(const v1::DataSpec& spec) {
  const v1::TargetSpec& target = spec.target();
  if (target.has_survival()) return TargetKind::kSurvival;
  if (target.has_numeric()) return TargetKind::kNumber;
  return target.classes().empty() ? TargetKind::kBinary : TargetKind::kClass;
}

std::size_t NumTargets(const v1::DataSpec& spec) { return spec.target().has_survival() ? 2 : 1; }

bool IsFederated(v1::Standardization standardization) {
  return standardization == v1::STANDARDIZATION_FEDERATED ||
         standardization == v1::STANDARDIZATION_FEDERATED_ROBUST ||
         standardization == v1::STANDARDIZATION_FEDERATED_PRIVATE;
}

bool HasRanges(v1::Standardization standardization) {
  return standardization == v1::STANDARDIZATION_RANGE ||
         standardization == v1::STANDARDIZATION_FEDERATED_PRIVATE;
}

Moments MomentsOf(const v1::ValueRange& range) {
  const double middle = range.low() + (range.high() - range.low()) / 2;
  return {
      .mean = middle, .standard_deviation = (range.high() - range.low()) / 2, .imputed = middle};
}

Status Validate(const v1::DataSpec& spec, std::string_view field) {
  const std::string prefix = std::string(field) + ".";
  if (spec.features_size() < 1 || spec.features_size() > kMaxFeatures) {
    return config::FieldError(prefix + "features", "must have 1 to 4096 features, got " +
                                                       std::to_string(spec.features_size()));
  }
  if (spec.standardization() == v1::STANDARDIZATION_UNSPECIFIED ||
      !v1::Standardization_IsValid(spec.standardization())) {
    return config::FieldError(
        prefix + "standardization",
        "must be none, per_site, federated, federated_robust, range or federated_private");
  }
  Columns features;
  for (int i = 0; i < spec.features_size(); ++i) {
    const std::string path = prefix + "features[" + std::to_string(i) + "]";
    CHORALE_RETURN_IF_ERROR(ValidateFeature(spec.features(i), spec, path));
    const auto [first, is_new] = features.emplace(spec.features(i).column(), i);
    if (!is_new) {
      return config::FieldError(path + ".column", "names the column of features[" +
                                                      std::to_string(first->second) + "] again");
    }
  }
  CHORALE_RETURN_IF_ERROR(ValidateTarget(spec.target(), prefix + "target"));
  CHORALE_RETURN_IF_ERROR(
      RefuseFeature(features, spec.target().column(), prefix + "target.column"));
  if (!spec.target().has_survival()) return OkStatus();
  return RefuseFeature(features, spec.target().survival().time_column(),
                       prefix + "target.survival.time_column");
}

}  // namespace chorale::data
