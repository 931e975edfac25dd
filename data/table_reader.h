#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/columns.h"
#include "data/csv_reader.h"
#include "data/dataset.h"
#include "data/npy_reader.h"
#include "data/values.h"

namespace chorale::data {

// Turns the rows of one table into the numbers of one Dataset: what Dataset::Create does. Use once.
class TableReader {
 public:
  // Finds the columns and opens the array files. The table must outlive the reader.
  // REQUIRES: Validate(spec).ok().
  [[nodiscard]] static StatusOr<TableReader> Create(const CsvTable& table,
                                                    const v1::DatasetConfig& config,
                                                    const std::filesystem::path& config_directory,
                                                    const v1::DataSpec& spec);
  [[nodiscard]] StatusOr<Dataset> Read() &&;

 private:
  struct Column {
    std::string name;
    std::size_t index = 0;
  };
  // A numeric one has neither levels nor an array.
  struct Feature {
    Column column;
    std::optional<ValueList> levels;
    std::shared_ptr<const NpyFile> array;
    bool is_imputed = false;
  };
  struct Filter {
    std::size_t column = 0;
    ValueList values;
  };
  using PatientNumbers = std::unordered_map<std::string_view, std::uint32_t>;
  using Row = std::vector<std::string>;

  TableReader(const CsvTable& table, const v1::DatasetConfig& config, const v1::DataSpec& spec);

  [[nodiscard]] Status FindFilters(const v1::DatasetConfig& config);
  [[nodiscard]] Status FindFeatures(const v1::DatasetConfig& config,
                                    const std::filesystem::path& config_directory);
  [[nodiscard]] Status FindOthers(const v1::DatasetConfig& config);
  [[nodiscard]] StatusOr<Column> FindColumn(const std::string& name, std::string_view field) const;

  [[nodiscard]] Status ReadRow(std::size_t row, Dataset& dataset);
  [[nodiscard]] StatusOr<double> ReadFeature(const Feature& feature, std::size_t row) const;
  [[nodiscard]] StatusOr<double> ReadPlace(const Feature& feature, std::size_t row) const;
  [[nodiscard]] StatusOr<double> ReadNumber(const Column& column, std::size_t row) const;
  [[nodiscard]] Status ReadTarget(std::size_t row, std::vector<double>& targets) const;
  [[nodiscard]] bool IsKept(const Row& cells) const;
  [[nodiscard]] bool IsMissing(const Column& column, const Row& cells) const;
  // The first used column that misses its value and cannot do without.
  [[nodiscard]] const Column* FindMissing(const Row& cells) const;
  [[nodiscard]] StatusOr<v1::Split> SplitOf(std::size_t row) const;
  [[nodiscard]] Status Error(std::size_t row, const Column& column, std::string_view problem) const;

  const CsvTable& table_;
  ColumnIndex columns_;
  v1::DataSpec spec_;
  char decimal_;
  bool drops_missing_;
  ValueList missing_;
  ValueList listed_targets_;  // Positive values or classes.
  std::vector<Filter> filters_;
  std::vector<Feature> features_;
  Column target_;
  std::optional<Column> time_;
  std::optional<Column> split_;
  std::optional<Column> patient_;
  PatientNumbers train_patients_;
  PatientNumbers test_patients_;
};

}  // namespace chorale::data
