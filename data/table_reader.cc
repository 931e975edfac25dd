#include "data/table_reader.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <utility>

#include "data/array_files.h"

namespace chorale::data {
namespace {

std::vector<std::string> ToVector(const google::protobuf::RepeatedPtrField<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

std::vector<std::string> MissingMarkers(const v1::CsvConnector& options) {
  if (options.missing_size() == 0) return {"?", "NA", "NaN"};
  return ToVector(options.missing());
}

std::string Element(std::string_view field, int index) {
  return std::string(field) + "[" + std::to_string(index) + "]";
}

bool LeadsToArray(const v1::DatasetConfig& config, const std::string& column) {
  return std::any_of(config.arrays().begin(), config.arrays().end(),
                     [&](const v1::ArrayFile& file) { return file.column() == column; });
}

}  // namespace

StatusOr<TableReader> TableReader::Create(const CsvTable& table, const v1::DatasetConfig& config,
                                          const std::filesystem::path& config_directory,
                                          const v1::DataSpec& spec) {
  TableReader reader(table, config, spec);
  CHORALE_RETURN_IF_ERROR(reader.FindFilters(config));
  CHORALE_RETURN_IF_ERROR(reader.FindFeatures(config, config_directory));
  CHORALE_RETURN_IF_ERROR(reader.FindOthers(config));
  return reader;
}

TableReader::TableReader(const CsvTable& table, const v1::DatasetConfig& config,
                         const v1::DataSpec& spec)
    : table_(table),
      columns_(table),
      spec_(spec),
      decimal_(config.csv().decimal() == "," ? ',' : '.'),
      drops_missing_(config.csv().on_missing() == v1::MISSING_ROWS_DROP),
      missing_(MissingMarkers(config.csv())),
      listed_targets_(ToVector(spec.target().classes().empty() ? spec.target().positive()
                                                               : spec.target().classes())) {}

Status TableReader::FindFilters(const v1::DatasetConfig& config) {
  for (int i = 0; i < config.keep_size(); ++i) {
    const v1::RowFilter& filter = config.keep(i);
    CHORALE_ASSIGN_OR_RETURN(const Column column,
                             FindColumn(filter.column(), Element("keep", i) + ".column"));
    if (filter.values().empty()) {
      return InvalidArgument(table_.file_name + ": " + Element("keep", i) +
                             ".values must list at least one value");
    }
    filters_.push_back({.column = column.index, .values = ValueList(ToVector(filter.values()))});
  }
  return OkStatus();
}

Status TableReader::FindFeatures(const v1::DatasetConfig& config,
                                 const std::filesystem::path& config_directory) {
  for (int i = 0; i < spec_.features_size(); ++i) {
    const v1::FeatureSpec& feature = spec_.features(i);
    const std::string path = Element("data.features", i);
    const std::string& name = feature.column();
    if (name == config.split_column() || name == config.patient_column()) {
      return InvalidArgument(table_.file_name + ": " + path + ".column: '" + name +
                             "' tells splits or patients apart at this site and is no feature");
    }
    if (!feature.has_array() && LeadsToArray(config, name)) {
      return InvalidArgument(table_.file_name + ": " + path + ".column: '" + name +
                             "' leads to an array file at this site: its kind is array");
    }
    Feature found;
    CHORALE_ASSIGN_OR_RETURN(found.column, FindColumn(name, path + ".column"));
    found.is_imputed = feature.numeric().impute() != v1::IMPUTATION_UNSPECIFIED;
    if (feature.has_categorical()) {
      found.levels = ValueList(ToVector(feature.categorical().levels()));
    } else if (feature.has_array()) {
      CHORALE_ASSIGN_OR_RETURN(found.array, OpenArray(config, config_directory, feature, path));
    }
    features_.push_back(std::move(found));
  }
  return OkStatus();
}

Status TableReader::FindOthers(const v1::DatasetConfig& config) {
  CHORALE_ASSIGN_OR_RETURN(target_, FindColumn(spec_.target().column(), "data.target.column"));
  if (spec_.target().has_survival()) {
    CHORALE_ASSIGN_OR_RETURN(time_, FindColumn(spec_.target().survival().time_column(),
                                               "data.target.survival.time_column"));
  }
  if (!config.split_column().empty()) {
    CHORALE_ASSIGN_OR_RETURN(split_, FindColumn(config.split_column(), "split_column"));
  }
  if (!config.patient_column().empty()) {
    CHORALE_ASSIGN_OR_RETURN(patient_, FindColumn(config.patient_column(), "patient_column"));
  }
  return OkStatus();
}

StatusOr<TableReader::Column> TableReader::FindColumn(const std::string& name,
                                                      std::string_view field) const {
  CHORALE_ASSIGN_OR_RETURN(const std::size_t index, columns_.Find(name, field));
  return Column{name, index};
}

StatusOr<Dataset> TableReader::Read() && {
  Dataset dataset;
  dataset.spec_ = spec_;
  for (const Feature& feature : features_) dataset.arrays_.push_back(feature.array);
  for (std::size_t row = 0; row < table_.rows.size(); ++row) {
    if (!IsKept(table_.rows[row])) continue;
    CHORALE_RETURN_IF_ERROR(ReadRow(row, dataset));
  }
  if (dataset.num_training_rows() == 0) {
    return FailedPrecondition(table_.file_name + ": no training row is left of " +
                              std::to_string(table_.rows.size()) +
                              "; look at keep, split_column and csv.missing");
  }
  return dataset;
}

Status TableReader::ReadRow(std::size_t row, Dataset& dataset) {
  const Row& cells = table_.rows[row];
  if (const Column* missing = FindMissing(cells)) {
    if (drops_missing_) {
      ++dataset.num_dropped_rows_;
      return OkStatus();
    }
    return Error(row, *missing, "has no value; csv.on_missing: drop leaves such rows out");
  }
  CHORALE_ASSIGN_OR_RETURN(const v1::Split split, SplitOf(row));
  const bool is_train = split == v1::SPLIT_TRAIN;
  Dataset::Rows& rows = is_train ? dataset.train_ : dataset.test_;
  PatientNumbers& numbers = is_train ? train_patients_ : test_patients_;
  for (const Feature& feature : features_) {
    CHORALE_ASSIGN_OR_RETURN(const double value, ReadFeature(feature, row));
    rows.values.push_back(value);
  }
  CHORALE_RETURN_IF_ERROR(ReadTarget(row, rows.targets));
  const auto next_patient =
      static_cast<std::uint32_t>(patient_ ? numbers.size() : rows.patients.size());
  rows.patients.push_back(patient_
                              ? numbers.emplace(cells[patient_->index], next_patient).first->second
                              : next_patient);
  return OkStatus();
}

StatusOr<double> TableReader::ReadFeature(const Feature& feature, std::size_t row) const {
  if (feature.array != nullptr) return ReadPlace(feature, row);
  if (feature.levels) {
    const std::string& cell = table_.rows[row][feature.column.index];
    const std::optional<std::size_t> level = feature.levels->Find(cell, decimal_);
    if (!level) return Error(row, feature.column, "holds none of the levels that the job lists");
    return static_cast<double>(*level);
  }
  if (feature.is_imputed && IsMissing(feature.column, table_.rows[row])) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return ReadNumber(feature.column, row);
}

StatusOr<double> TableReader::ReadPlace(const Feature& feature, std::size_t row) const {
  const std::optional<double> place = ParseNumber(table_.rows[row][feature.column.index], decimal_);
  const auto num_rows = static_cast<double>(feature.array->num_rows());
  if (!place || !(*place >= 0) || *place >= num_rows || *place != std::floor(*place)) {
    return Error(row, feature.column,
                 "is no place in its array file: a whole number from 0, below the " +
                     std::to_string(feature.array->num_rows()) + " examples there");
  }
  if (!feature.array->IsFinite(static_cast<std::uint64_t>(*place))) {
    return Error(row, feature.column, "leads to an array that holds NaN or infinity");
  }
  return *place;
}

StatusOr<double> TableReader::ReadNumber(const Column& column, std::size_t row) const {
  const std::optional<double> number = ParseNumber(table_.rows[row][column.index], decimal_);
  if (!number) {
    return Error(row, column,
                 decimal_ == ','
                     ? "is not a number with a decimal comma; see csv.decimal and csv.missing"
                     : "is not a number with a decimal point; see csv.decimal and csv.missing");
  }
  if (std::abs(*number) > FLT_MAX) return Error(row, column, "is beyond float32");
  return *number;
}

Status TableReader::ReadTarget(std::size_t row, std::vector<double>& targets) const {
  const std::string& cell = table_.rows[row][target_.index];
  switch (TargetKindOf(spec_)) {
    case TargetKind::kNumber: {
      CHORALE_ASSIGN_OR_RETURN(const double number, ReadNumber(target_, row));
      targets.push_back(number);
      return OkStatus();
    }
    case TargetKind::kClass: {
      const std::optional<std::size_t> place = listed_targets_.Find(cell, decimal_);
      if (!place) return Error(row, target_, "holds none of the classes that the job lists");
      targets.push_back(static_cast<double>(*place));
      return OkStatus();
    }
    case TargetKind::kSurvival: {
      CHORALE_ASSIGN_OR_RETURN(const double time, ReadNumber(*time_, row));
      if (time < 0) return Error(row, *time_, "is a time and must not be negative");
      targets.push_back(time);
      break;
    }
    case TargetKind::kBinary:
      break;
  }
  targets.push_back(listed_targets_.Contains(cell, decimal_) ? 1 : 0);
  return OkStatus();
}

bool TableReader::IsKept(const Row& cells) const {
  for (const Filter& filter : filters_) {
    if (!filter.values.Contains(cells[filter.column], decimal_)) return false;
  }
  return true;
}

bool TableReader::IsMissing(const Column& column, const Row& cells) const {
  const std::string& cell = cells[column.index];
  return cell.empty() || missing_.Contains(cell, decimal_);
}

const TableReader::Column* TableReader::FindMissing(const Row& cells) const {
  for (const Feature& feature : features_) {
    if (!feature.is_imputed && IsMissing(feature.column, cells)) return &feature.column;
  }
  if (IsMissing(target_, cells)) return &target_;
  for (const std::optional<Column>* column : {&time_, &split_, &patient_}) {
    if (*column && IsMissing(**column, cells)) return &**column;
  }
  return nullptr;
}

StatusOr<v1::Split> TableReader::SplitOf(std::size_t row) const {
  if (!split_) return v1::SPLIT_TRAIN;
  const std::string& cell = table_.rows[row][split_->index];
  if (cell == "train") return v1::SPLIT_TRAIN;
  if (cell == "test") return v1::SPLIT_TEST;
  return Error(row, *split_, "must be train or test");
}

Status TableReader::Error(std::size_t row, const Column& column, std::string_view problem) const {
  return InvalidArgument(table_.file_name + ":" + std::to_string(table_.lines[row]) + ": column '" +
                         column.name + "' " + std::string(problem));
}

}  // namespace chorale::data
