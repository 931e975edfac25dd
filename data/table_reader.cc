#include "data/table_reader.h"

#include <cfloat>
#include <cmath>
#include <utility>

#include "data/columns.h"

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

}  // namespace

StatusOr<TableReader> TableReader::Create(const CsvTable& table, const v1::DatasetConfig& config,
                                          const v1::DataSpec& spec) {
  TableReader reader(table, config, spec);
  CHORALE_RETURN_IF_ERROR(reader.FindColumns(config, spec));
  return reader;
}

TableReader::TableReader(const CsvTable& table, const v1::DatasetConfig& config,
                         const v1::DataSpec& spec)
    : table_(table),
      decimal_(config.csv().decimal() == "," ? ',' : '.'),
      drops_missing_(config.csv().on_missing() == v1::MISSING_ROWS_DROP),
      missing_(MissingMarkers(config.csv())),
      positive_(ToVector(spec.target().positive())) {}

Status TableReader::FindColumns(const v1::DatasetConfig& config, const v1::DataSpec& spec) {
  const ColumnIndex columns(table_);
  for (int i = 0; i < config.keep_size(); ++i) {
    const v1::RowFilter& filter = config.keep(i);
    CHORALE_ASSIGN_OR_RETURN(const std::size_t index,
                             columns.Find(filter.column(), Element("keep", i) + ".column"));
    if (filter.values().empty()) {
      return InvalidArgument(table_.file_name + ": " + Element("keep", i) +
                             ".values must list at least one value");
    }
    filters_.push_back({.column = index, .values = ValueList(ToVector(filter.values()))});
  }
  for (int i = 0; i < spec.features_size(); ++i) {
    const v1::FeatureSpec& feature = spec.features(i);
    const std::string field = Element("data.features", i) + ".column";
    if (feature.column() == config.split_column() || feature.column() == config.patient_column()) {
      return InvalidArgument(table_.file_name + ": " + field + ": '" + feature.column() +
                             "' tells splits or patients apart at this site and is no feature");
    }
    CHORALE_ASSIGN_OR_RETURN(const std::size_t index, columns.Find(feature.column(), field));
    features_.push_back({.column = {feature.column(), index}, .levels = std::nullopt});
    if (feature.has_categorical()) {
      features_.back().levels = ValueList(ToVector(feature.categorical().levels()));
    }
  }
  const auto find = [&](const std::string& name, std::string_view field) -> StatusOr<Column> {
    CHORALE_ASSIGN_OR_RETURN(const std::size_t index, columns.Find(name, field));
    return Column{name, index};
  };
  CHORALE_ASSIGN_OR_RETURN(target_, find(spec.target().column(), "data.target.column"));
  if (!config.split_column().empty()) {
    CHORALE_ASSIGN_OR_RETURN(split_, find(config.split_column(), "split_column"));
  }
  if (!config.patient_column().empty()) {
    CHORALE_ASSIGN_OR_RETURN(patient_, find(config.patient_column(), "patient_column"));
  }
  return OkStatus();
}

StatusOr<Dataset> TableReader::Read() && {
  Dataset dataset;
  for (const Feature& feature : features_) {
    if (!feature.levels) dataset.numeric_inputs_.push_back(dataset.num_inputs_);
    dataset.num_inputs_ += feature.levels ? feature.levels->size() - 1 : 1;
  }
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
    CHORALE_RETURN_IF_ERROR(ReadFeature(feature, row, rows.inputs));
  }
  const auto next_patient =
      static_cast<std::uint32_t>(patient_ ? numbers.size() : rows.patients.size());
  rows.patients.push_back(patient_
                              ? numbers.emplace(cells[patient_->index], next_patient).first->second
                              : next_patient);
  rows.targets.push_back(positive_.Contains(cells[target_.index], decimal_) ? 1.0F : 0.0F);
  return OkStatus();
}

Status TableReader::ReadFeature(const Feature& feature, std::size_t row,
                                std::vector<double>& inputs) const {
  const std::string& cell = table_.rows[row][feature.column.index];
  if (feature.levels) {
    const std::optional<std::size_t> level = feature.levels->Find(cell, decimal_);
    if (!level) return Error(row, feature.column, "holds none of the levels that the job lists");
    for (std::size_t k = 1; k < feature.levels->size(); ++k) inputs.push_back(k == level ? 1 : 0);
    return OkStatus();
  }
  const std::optional<double> number = ParseNumber(cell, decimal_);
  if (!number) {
    return Error(row, feature.column,
                 decimal_ == ','
                     ? "is not a number with a decimal comma; see csv.decimal and csv.missing"
                     : "is not a number with a decimal point; see csv.decimal and csv.missing");
  }
  if (std::abs(*number) > FLT_MAX) return Error(row, feature.column, "is beyond float32");
  inputs.push_back(*number);
  return OkStatus();
}

bool TableReader::IsKept(const Row& cells) const {
  for (const Filter& filter : filters_) {
    if (!filter.values.Contains(cells[filter.column], decimal_)) return false;
  }
  return true;
}

const TableReader::Column* TableReader::FindMissing(const Row& cells) const {
  const auto is_missing = [&](const Column& column) {
    const std::string& cell = cells[column.index];
    return cell.empty() || missing_.Contains(cell, decimal_);
  };
  for (const Feature& feature : features_) {
    if (is_missing(feature.column)) return &feature.column;
  }
  if (is_missing(target_)) return &target_;
  if (split_ && is_missing(*split_)) return &*split_;
  if (patient_ && is_missing(*patient_)) return &*patient_;
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
