#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/csv_reader.h"
#include "data/data_spec.h"
#include "data/moments.h"

// From a table to numbers a model takes. Messages name columns and lines, never cells.
//
// What a cell means, in this order:
//   * a row is kept when it matches every filter of `keep`; the others are as if they were not in
//   the file;
//   * a cell is missing when it is empty or one of `csv.missing`. A kept row that misses a used
//   value (feature, target,
//     split, patient) is an error or dropped, as `csv.on_missing` says;
//   * a listed value (missing marker, filter, level, positive) equals a cell with the same text,
//   and a number equals any
//     writing of it: `0` matches `0`, `0.0` and, with a decimal comma, `0,0`. Listed numbers have a
//     decimal point.
namespace chorale::data {

// Examples of one split. Rows stay in file order.
struct Examples {
  std::size_t num_inputs = 0;
  std::vector<float> inputs;   // [num_examples, num_inputs], row-major
  std::vector<float> targets;  // [num_examples], 0 or 1
  std::vector<std::uint32_t>
      patients;  // [num_examples], the same number for rows of one patient, from 0 without gaps
  [[nodiscard]] std::size_t size() const { return targets.size(); }
};

// INVALID_ARGUMENT unless there is one pair for each numeric feature, finite and with a deviation
// above 0: for moments that came from outside.
[[nodiscard]] Status Validate(std::span<const Moments> moments, const v1::DataSpec& spec);

// A table read for one DataSpec, before standardisation. Immutable, hence safe for concurrent use.
class Dataset {
 public:
  // INVALID_ARGUMENT: an unsound `spec` or connector; a filter without values; a column that is
  // named but not there (with the nearest that is); a feature that is the split or the patient
  // column; a cell that is no number or beyond float32; a level outside the list; a split that is
  // neither `train` nor `test`; a missing value where rows are not dropped. With file and line.
  // FAILED_PRECONDITION: no training row is left.
  [[nodiscard]] static StatusOr<Dataset> Create(const CsvTable& table,
                                                const v1::DatasetConfig& config,
                                                const v1::DataSpec& spec);
  // Reads the configured connector. A relative path starts at `config_directory`. Also the errors
  // of ReadCsv.
  [[nodiscard]] static StatusOr<Dataset> Load(const v1::DatasetConfig& config,
                                              const std::filesystem::path& config_directory,
                                              const v1::DataSpec& spec);

  // Of the training rows. [num_numeric_features]
  [[nodiscard]] std::vector<MomentSums> TrainingMoments() const;
  // Numeric inputs as (value - mean) / standard_deviation; indicators as they are.
  // REQUIRES: Validate(moments, spec).ok().
  [[nodiscard]] Examples Standardized(v1::Split split, std::span<const Moments> moments) const;
  // What a site can do alone: as they are when the specification asks for no standardisation, else
  // with the moments of this site's own training rows. A round under FEDERATED takes Standardized
  // with the federation's moments.
  [[nodiscard]] Examples PerSite(v1::Split split) const;

  [[nodiscard]] std::size_t num_training_rows() const { return train_.targets.size(); }
  [[nodiscard]] std::size_t num_test_rows() const { return test_.targets.size(); }
  [[nodiscard]] std::size_t num_dropped_rows() const {
    return num_dropped_rows_;
  }  // For missing values.

 private:
  friend class TableReader;

  // As Examples, but in double: a float32 has too few digits for a column of large values and small
  // spread.
  struct Rows {
    std::vector<double> inputs;
    std::vector<float> targets;
    std::vector<std::uint32_t> patients;
  };

  Dataset() = default;
  [[nodiscard]] const Rows& RowsOf(v1::Split split) const;
  [[nodiscard]] std::vector<double> TrainingValues(std::size_t input) const;

  v1::Standardization standardization_ = v1::STANDARDIZATION_NONE;
  std::size_t num_inputs_ = 0;
  std::vector<std::size_t> numeric_inputs_;  // Column of `inputs` of each numeric feature.
  Rows train_;
  Rows test_;
  std::size_t num_dropped_rows_ = 0;
};

}  // namespace chorale::data
