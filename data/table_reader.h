#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/csv_reader.h"
#include "data/dataset.h"
#include "data/values.h"

namespace chorale::data {

// Turns the rows of one table into the numbers of one Dataset: what Dataset::Create does. Use once.
class TableReader {
 public:
  // Finds the columns. The table must outlive the reader. REQUIRES: Validate(spec).ok().
  [[nodiscard]] static StatusOr<TableReader> Create(const CsvTable& table,
                                                    const v1::DatasetConfig& config,
                                                    const v1::DataSpec& spec);
  [[nodiscard]] StatusOr<Dataset> Read() &&;

 private:
  struct Column {
    std::string name;
    std::size_t index = 0;
  };
  struct Feature {
    Column column;
    std::optional<ValueList> levels;  // None: numeric.
  };
  struct Filter {
    std::size_t column = 0;
    ValueList values;
  };
  using PatientNumbers = std::unordered_map<std::string_view, std::uint32_t>;
  using Row = std::vector<std::string>;

  TableReader(const CsvTable& table, const v1::DatasetConfig& config, const v1::DataSpec& spec);

  [[nodiscard]] Status FindColumns(const v1::DatasetConfig& config, const v1::DataSpec& spec);
  [[nodiscard]] Status ReadRow(std::size_t row, Dataset& dataset);
  [[nodiscard]] Status ReadFeature(const Feature& feature, std::size_t row,
                                   std::vector<double>& inputs) const;
  [[nodiscard]] bool IsKept(const Row& cells) const;
  // The first used column that misses its value.
  [[nodiscard]] const Column* FindMissing(const Row& cells) const;
  [[nodiscard]] StatusOr<v1::Split> SplitOf(std::size_t row) const;
  [[nodiscard]] Status Error(std::size_t row, const Column& column, std::string_view problem) const;

  const CsvTable& table_;
  char decimal_;
  bool drops_missing_;
  ValueList missing_;
  ValueList positive_;
  std::vector<Filter> filters_;
  std::vector<Feature> features_;
  Column target_;
  std::optional<Column> split_;
  std::optional<Column> patient_;
  PatientNumbers train_patients_;
  PatientNumbers test_patients_;
};

}  // namespace chorale::data
