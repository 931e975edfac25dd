#include "data/dataset.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "core/config/yaml.h"
#include "data/table_reader.h"

namespace chorale::data {
namespace {

// Conversion of a double beyond float is undefined in C++; moments from outside can produce one.
float ToFloat(double value) {
  constexpr double kMost = std::numeric_limits<float>::max();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (value > kMost) return kInfinity;
  if (value < -kMost) return -kInfinity;
  return static_cast<float>(value);
}

}  // namespace

Status Validate(std::span<const Moments> moments, const v1::DataSpec& spec) {
  if (moments.size() != NumNumericFeatures(spec)) {
    return InvalidArgument("moments: expected " + std::to_string(NumNumericFeatures(spec)) +
                           ", one for each numeric feature, got " + std::to_string(moments.size()));
  }
  for (std::size_t i = 0; i < moments.size(); ++i) {
    if (!std::isfinite(moments[i].mean) || !std::isfinite(moments[i].standard_deviation) ||
        !(moments[i].standard_deviation > 0)) {
      return InvalidArgument("moments[" + std::to_string(i) +
                             "]: must be finite, with a standard_deviation above 0");
    }
  }
  return OkStatus();
}

StatusOr<Dataset> Dataset::Create(const CsvTable& table, const v1::DatasetConfig& config,
                                  const v1::DataSpec& spec) {
  CHORALE_RETURN_IF_ERROR(Validate(spec, "data"));
  CHORALE_RETURN_IF_ERROR(Validate(config.csv(), "csv"));
  CHORALE_ASSIGN_OR_RETURN(TableReader reader, TableReader::Create(table, config, spec));
  CHORALE_ASSIGN_OR_RETURN(Dataset dataset, std::move(reader).Read());
  dataset.standardization_ = spec.standardization();
  return dataset;
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
  return Create(table, config, spec);
}

std::vector<MomentSums> Dataset::TrainingMoments() const {
  std::vector<MomentSums> sums;
  sums.reserve(numeric_inputs_.size());
  for (const std::size_t input : numeric_inputs_) sums.push_back(SumsOf(TrainingValues(input)));
  return sums;
}

Examples Dataset::Standardized(v1::Split split, std::span<const Moments> moments) const {
  const Rows& rows = RowsOf(split);
  std::vector<Moments> of_input(num_inputs_);  // Indicators keep mean 0 and deviation 1.
  for (std::size_t i = 0; i < numeric_inputs_.size() && i < moments.size(); ++i) {
    of_input[numeric_inputs_[i]] = moments[i];
  }
  Examples examples{.num_inputs = num_inputs_,
                    .inputs = std::vector<float>(rows.inputs.size()),
                    .targets = rows.targets,
                    .patients = rows.patients};
  for (std::size_t row = 0; row < rows.targets.size(); ++row) {
    for (std::size_t input = 0; input < num_inputs_; ++input) {
      const std::size_t at = row * num_inputs_ + input;
      const auto& [mean, standard_deviation] = of_input[input];
      examples.inputs[at] = ToFloat((rows.inputs[at] - mean) / standard_deviation);
    }
  }
  return examples;
}

Examples Dataset::PerSite(v1::Split split) const {
  std::vector<Moments> moments(numeric_inputs_.size());
  if (standardization_ != v1::STANDARDIZATION_NONE) {
    for (std::size_t i = 0; i < moments.size(); ++i) {
      moments[i] = MomentsOf(TrainingValues(numeric_inputs_[i]));
    }
  }
  return Standardized(split, moments);
}

const Dataset::Rows& Dataset::RowsOf(v1::Split split) const {
  return split == v1::SPLIT_TEST ? test_ : train_;
}

std::vector<double> Dataset::TrainingValues(std::size_t input) const {
  std::vector<double> values(train_.targets.size());
  for (std::size_t row = 0; row < values.size(); ++row) {
    values[row] = train_.inputs[row * num_inputs_ + input];
  }
  return values;
}

}  // namespace chorale::data
