#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/csv_reader.h"
#include "data/data_spec.h"
#include "data/examples.h"
#include "data/moments.h"
#include "data/npy_reader.h"

// From a table to numbers a model takes. Messages name columns and lines, never cells.
//
// What a cell means, in this order:
//   * a row is kept when it matches every filter of `keep`; the others are as if they were not in
//   the file;
//   * a cell is missing when it is empty or one of `csv.missing`. A kept row that misses a used
//   value (feature, target, time, split, patient) is an error or dropped, as `csv.on_missing` says;
//   a numeric feature with `impute` keeps the row and gets its value in standardisation;
//   * a listed value (missing marker, filter, level, positive, class) equals a cell with the same
//   text, and a number equals any writing of it: `0` matches `0`, `0.0` and, with a decimal comma,
//   `0,0`. Listed numbers have a decimal point.
namespace chorale::data {

// INVALID_ARGUMENT unless there is one of them for each numeric feature, finite and with a
// deviation above 0: for moments that came from outside.
[[nodiscard]] Status Validate(std::span<const Moments> moments, const v1::DataSpec& spec);

// A table read for one DataSpec, before standardisation. Immutable, hence safe for concurrent use.
//
// Arrays are not read into memory: the dataset maps their files and copies rows into Examples. Such
// a file must not be written in place while a dataset uses it (SIGBUS ends the process when it gets
// shorter); renaming a new one over it is safe, and the dataset goes on with the old one.
class Dataset {
 public:
  // Relative paths of array files start at `config_directory`.
  //
  // INVALID_ARGUMENT: an unsound `spec`, connector or list of arrays; a filter without values; a
  // column that is named but not there (with the nearest that is); a feature that is the split or
  // the patient column; an array feature that the site has no file for, or one of another shape or
  // format; a cell that is no number or beyond float32, or no place in the array file; a level or
  // class outside the list; a negative time; an array with NaN or infinity; a split that is neither
  // `train` nor `test`; a missing value where rows are not dropped. With file and line.
  // FAILED_PRECONDITION: no training row is left. NOT_FOUND, PERMISSION_DENIED: an array file.
  [[nodiscard]] static StatusOr<Dataset> Create(const CsvTable& table,
                                                const v1::DatasetConfig& config,
                                                const std::filesystem::path& config_directory,
                                                const v1::DataSpec& spec);
  // Reads the configured connector; its relative path starts at `config_directory` too. Also the
  // errors of ReadCsv.
  [[nodiscard]] static StatusOr<Dataset> Load(const v1::DatasetConfig& config,
                                              const std::filesystem::path& config_directory,
                                              const v1::DataSpec& spec);

  // What a preparation round asks for, of the training rows: the payload of preparation.h.
  // [PreparationSize(spec)]
  [[nodiscard]] std::vector<double> PreparationSums() const;

  // What a noisy preparation asks for, of one training row: adds to each numeric feature, in order,
  // `weight` times the value that its range brings onto [-1, 1], times the square of that, and
  // `weight` where there is a value. [NumNumericFeatures(spec)] each. REQUIRES:
  // HasRanges(spec.standardization()); a row below num_training_rows().
  void AddRangedValues(std::size_t row, double weight, std::span<double> values,
                       std::span<double> squares, std::span<double> present) const;

  // Numeric inputs as (value - mean) / standard_deviation, missing ones as if `imputed` stood
  // there; indicators and arrays as they are. Exact: the same without the rounding to float32.
  // REQUIRES: Validate(moments, spec).ok().
  [[nodiscard]] Examples Standardized(v1::Split split, std::span<const Moments> moments) const;
  [[nodiscard]] ExactExamples StandardizedExact(v1::Split split,
                                                std::span<const Moments> moments) const;
  // What a site can do alone: as they are when the specification asks for no standardisation, else
  // with the moments of this site's own training rows, as if the site were a federation by itself.
  // A round under federated standardisation takes Standardized with the federation's moments.
  [[nodiscard]] Examples PerSite(v1::Split split) const;
  [[nodiscard]] ExactExamples PerSiteExact(v1::Split split) const;

  [[nodiscard]] const v1::DataSpec& spec() const { return spec_; }
  [[nodiscard]] std::size_t num_training_rows() const { return train_.patients.size(); }
  [[nodiscard]] std::size_t num_test_rows() const { return test_.patients.size(); }
  // Of each training row, as Examples::patients.
  [[nodiscard]] std::span<const std::uint32_t> training_patients() const { return train_.patients; }
  [[nodiscard]] std::size_t num_dropped_rows() const {
    return num_dropped_rows_;
  }  // For missing values.
  // Memory that the Examples of both splits take together, twice as much when exact; to be held
  // against a limit before they are made. The largest std::uint64_t when it is more.
  [[nodiscard]] std::uint64_t ExamplesBytes() const;

 private:
  friend class TableReader;

  // A value for each feature: the number (NaN: missing), the place of the level, or the place in
  // the array file. In double: a float32 has too few digits for a column of large values and small
  // spread.
  struct Rows {
    std::vector<double> values;           // [num_rows, num_features]
    std::vector<double> targets;          // [num_rows, num_targets]
    std::vector<std::uint32_t> patients;  // [num_rows]
  };

  Dataset() = default;
  [[nodiscard]] const Rows& RowsOf(v1::Split split) const;
  [[nodiscard]] std::vector<double> TrainingValues(std::size_t feature) const;
  [[nodiscard]] std::vector<Moments> PerSiteMoments() const;
  template <typename Number>
  [[nodiscard]] ExamplesOf<Number> MakeExamples(v1::Split split,
                                                std::span<const Moments> moments) const;

  v1::DataSpec spec_;
  // [num_features]; null for features that are no arrays.
  std::vector<std::shared_ptr<const NpyFile>> arrays_;
  Rows train_;
  Rows test_;
  std::size_t num_dropped_rows_ = 0;
};

}  // namespace chorale::data
