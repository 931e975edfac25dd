#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "core/config/yaml.h"
#include "data/array_files.h"
#include "data/preparation.h"
#include "data/table_reader.h"

namespace chorale::data {
namespace {

template <typename Number>
Number To(double value);

template <>
double To<double>(double value) {
  return value;
}

// Conversion of a double beyond float is undefined in C++; moments from outside can produce one.
template <>
float To<float>(double value) {
  constexpr double kMost = std::numeric_limits<float>::max();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (value > kMost) return kInfinity;
  if (value < -kMost) return -kInfinity;
  return static_cast<float>(value);
}

// How one value becomes inputs.
struct FeatureInputs {
  const NpyFile* array = nullptr;  // Null: no array feature.
  bool is_numeric = false;
  bool has_indicator = false;
  Moments moments = {};
  const v1::ValueRange* range = nullptr;  // Null: values are not held to one.
  std::size_t num_inputs = 0;
};

FeatureInputs InputsOf(const v1::FeatureSpec& feature, const NpyFile* array) {
  FeatureInputs inputs{.array = array, .is_numeric = feature.has_numeric()};
  if (array != nullptr) {
    inputs.num_inputs = static_cast<std::size_t>(array->header().row_size);
  } else if (inputs.is_numeric) {
    inputs.has_indicator = feature.numeric().missing_indicator();
    if (feature.numeric().has_range()) inputs.range = &feature.numeric().range();
    inputs.num_inputs = inputs.has_indicator ? 2 : 1;
  } else {
    inputs.num_inputs = static_cast<std::size_t>(feature.categorical().levels_size()) - 1;
  }
  return inputs;
}

// `numbers` are zeros so far.
template <typename Number>
void Fill(const FeatureInputs& feature, double value, std::span<Number> numbers) {
  if (feature.array != nullptr) {
    feature.array->CopyRow(static_cast<std::uint64_t>(value), numbers);
  } else if (feature.is_numeric) {
    const bool is_missing = std::isnan(value);
    const auto& [mean, standard_deviation, imputed] = feature.moments;
    if (feature.range != nullptr && !is_missing) {
      value = std::clamp(value, feature.range->low(), feature.range->high());
    }
    numbers[0] = To<Number>(((is_missing ? imputed : value) - mean) / standard_deviation);
    if (feature.has_indicator) numbers[1] = is_missing ? Number{1} : Number{0};
  } else if (value > 0) {  // The first level is all zeros.
    numbers[static_cast<std::size_t>(value) - 1] = Number{1};
  }
}

}  // namespace

Status Validate(std::span<const Moments> moments, const v1::DataSpec& spec) {
  if (moments.size() != NumNumericFeatures(spec)) {
    return InvalidArgument("moments: expected " + std::to_string(NumNumericFeatures(spec)) +
                           ", one for each numeric feature, got " + std::to_string(moments.size()));
  }
  for (std::size_t i = 0; i < moments.size(); ++i) {
    if (!std::isfinite(moments[i].mean) || !std::isfinite(moments[i].standard_deviation) ||
        !std::isfinite(moments[i].imputed) || !(moments[i].standard_deviation > 0)) {
      return InvalidArgument("moments[" + std::to_string(i) +
                             "]: must be finite, with a standard_deviation above 0");
    }
  }
  return OkStatus();
}

StatusOr<Dataset> Dataset::Create(const CsvTable& table, const v1::DatasetConfig& config,
                                  const std::filesystem::path& config_directory,
                                  const v1::DataSpec& spec) {
  CHORALE_RETURN_IF_ERROR(Validate(spec, "data"));
  CHORALE_RETURN_IF_ERROR(Validate(config.csv(), "csv"));
  CHORALE_RETURN_IF_ERROR(ValidateArrays(config, ""));
  CHORALE_ASSIGN_OR_RETURN(TableReader reader,
                           TableReader::Create(table, config, config_directory, spec));
  return std::move(reader).Read();
}

StatusOr<Dataset> Dataset::Load(const v1::DatasetConfig& config,
                                const std::filesystem::path& config_directory,
                                const v1::DataSpec& spec) {
  if (config.csv().path().empty()) {
    return config::FieldError("csv.path", "is required: where the table is");
  }
  CHORALE_RETURN_IF_ERROR(Validate(spec, "data"));
  CHORALE_ASSIGN_OR_RETURN(const CsvTable table,
                           ReadCsv(config_directory / config.csv().path(), config.csv()));
  return Create(table, config, config_directory, spec);
}

std::vector<double> Dataset::PreparationSums() const {
  const bool needs_quantiles = NeedsQuantiles(spec_);
  std::vector<double> all;
  all.reserve(PreparationSize(spec_));
  for (int i = 0; i < spec_.features_size(); ++i) {
    const v1::FeatureSpec& feature = spec_.features(i);
    if (feature.has_array()) continue;
    const std::vector<double> values = TrainingValues(static_cast<std::size_t>(i));
    const auto num_missing = static_cast<double>(num_training_rows() - values.size());
    if (feature.has_categorical()) {
      std::vector<double> counts(static_cast<std::size_t>(feature.categorical().levels_size()));
      for (const double level : values) ++counts[static_cast<std::size_t>(level)];
      all.insert(all.end(), counts.begin(), counts.end());
      all.push_back(num_missing);
      continue;
    }
    const MomentSums sums = SumsOf(values);
    all.insert(all.end(), {sums.count, sums.sum, sums.sum_of_squares, num_missing});
    if (!needs_quantiles) continue;
    std::vector<double> bins(kNumBins);
    for (const double value : values) ++bins[BinOf(value)];
    all.insert(all.end(), bins.begin(), bins.end());
  }
  return all;
}

Examples Dataset::Standardized(v1::Split split, std::span<const Moments> moments) const {
  return MakeExamples<float>(split, moments);
}

ExactExamples Dataset::StandardizedExact(v1::Split split, std::span<const Moments> moments) const {
  return MakeExamples<double>(split, moments);
}

Examples Dataset::PerSite(v1::Split split) const {
  return MakeExamples<float>(split, PerSiteMoments());
}

ExactExamples Dataset::PerSiteExact(v1::Split split) const {
  return MakeExamples<double>(split, PerSiteMoments());
}

std::uint64_t Dataset::ExamplesBytes() const {
  const std::uint64_t numbers = std::uint64_t{NumInputs(spec_)} + NumTargets(spec_) + 1;
  const std::uint64_t rows = num_training_rows() + num_test_rows();
  std::uint64_t bytes = 0;
  const bool overflows = __builtin_mul_overflow(numbers * sizeof(float), rows, &bytes);
  return overflows ? std::numeric_limits<std::uint64_t>::max() : bytes;
}

const Dataset::Rows& Dataset::RowsOf(v1::Split split) const {
  return split == v1::SPLIT_TEST ? test_ : train_;
}

std::vector<double> Dataset::TrainingValues(std::size_t feature) const {
  const auto num_features = static_cast<std::size_t>(spec_.features_size());
  std::vector<double> values;
  values.reserve(num_training_rows());
  for (std::size_t at = feature; at < train_.values.size(); at += num_features) {
    if (!std::isnan(train_.values[at])) values.push_back(train_.values[at]);
  }
  const v1::NumericFeature& numeric = spec_.features(static_cast<int>(feature)).numeric();
  if (numeric.has_range()) {
    for (double& value : values) {
      value = std::clamp(value, numeric.range().low(), numeric.range().high());
    }
  }
  return values;
}

void Dataset::AddRangedValues(std::size_t row, double weight, std::span<double> values,
                              std::span<double> squares, std::span<double> present) const {
  const auto num_features = static_cast<std::size_t>(spec_.features_size());
  std::size_t next = 0;
  for (std::size_t i = 0; i < num_features; ++i) {
    const v1::FeatureSpec& feature = spec_.features(static_cast<int>(i));
    if (!feature.has_numeric()) continue;
    const std::size_t at = next++;
    double value = train_.values[row * num_features + i];
    if (std::isnan(value)) continue;
    const v1::ValueRange& range = feature.numeric().range();
    const Moments ends = MomentsOf(range);
    value = (std::clamp(value, range.low(), range.high()) - ends.mean) / ends.standard_deviation;
    value = std::clamp(value, -1.0, 1.0);  // What rounding may have added.
    values[at] += weight * value;
    squares[at] += weight * value * value;
    present[at] += weight;
  }
}

std::vector<Moments> Dataset::PerSiteMoments() const {
  // Quantiles, and what follows from them, as a federation would find them.
  if (NeedsQuantiles(spec_)) return PreparationOf(StatisticsOf(PreparationSums(), spec_), spec_);
  // Without, the values themselves tell more exactly than their sums.
  std::vector<Moments> all;
  for (int i = 0; i < spec_.features_size(); ++i) {
    if (!spec_.features(i).has_numeric()) continue;
    if (spec_.standardization() == v1::STANDARDIZATION_RANGE) {
      all.push_back(data::MomentsOf(spec_.features(i).numeric().range()));
      continue;
    }
    const Moments own = MomentsOf(TrainingValues(static_cast<std::size_t>(i)));
    all.push_back(spec_.standardization() == v1::STANDARDIZATION_NONE ? Moments{} : own);
    all.back().imputed = own.mean;
  }
  return all;
}

template <typename Number>
ExamplesOf<Number> Dataset::MakeExamples(v1::Split split, std::span<const Moments> moments) const {
  const Rows& rows = RowsOf(split);
  std::vector<FeatureInputs> features;
  ExamplesOf<Number> examples;
  std::size_t next_moments = 0;
  for (std::size_t i = 0; i < arrays_.size(); ++i) {
    features.push_back(InputsOf(spec_.features(static_cast<int>(i)), arrays_[i].get()));
    if (features.back().is_numeric && next_moments < moments.size()) {
      features.back().moments = moments[next_moments++];
    }
    examples.num_inputs += features.back().num_inputs;
  }
  examples.num_targets = NumTargets(spec_);
  examples.patients = rows.patients;
  examples.targets.resize(rows.targets.size());
  std::transform(rows.targets.begin(), rows.targets.end(), examples.targets.begin(), To<Number>);
  examples.inputs.resize(rows.patients.size() * examples.num_inputs);
  std::size_t next_input = 0;
  for (std::size_t at = 0; at < rows.values.size(); ++at) {
    const FeatureInputs& feature = features[at % features.size()];
    Fill<Number>(feature, rows.values[at],
                 std::span(examples.inputs).subspan(next_input, feature.num_inputs));
    next_input += feature.num_inputs;
  }
  return examples;
}

}  // namespace chorale::data
