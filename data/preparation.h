#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/moments.h"

// What a federation learns of its columns before it trains, as sums that sites add up: so that
// every site prepares its inputs alike.
//
// A payload is one vector of float64, for each feature in the order of the specification:
//   numeric      rows with a value, sum, sum of squares, rows without one; then, where the job
//   needs
//                quantiles (federated_robust, a median), kNumBins counts of the values by size
//   categorical  rows of each level, then rows without a value
//   array        nothing
// Counts by size tell a column's values to 0.5 %, though not whose they are: who sees one site's
// payload sees that much.
namespace chorale::data {

// Bins of equal relative width, the same for every column: negative ones from large to small, one
// for numbers nearer to 0 than 1e-7, positive ones from small to large. The last ones at either
// end, at about 5.9e10, hold everything beyond.
inline constexpr std::size_t kNumBins = 2 * 4096 + 1;
[[nodiscard]] std::size_t BinOf(double value);
// Off by at most 0.5 % of any value in the bin. REQUIRES: bin < kNumBins.
[[nodiscard]] double MiddleOfBin(std::size_t bin);

struct LevelCount {
  std::string level;
  double count = 0;
};

struct ColumnStatistics {
  std::string column;
  double count = 0;    // Rows with a value.
  double missing = 0;  // Rows without.
  Moments moments;     // Numeric columns: sample moments of the rows with a value.
  // Numeric columns of a job that needs quantiles, else empty: 5, 25, 50, 75 and 95 %. A quantile
  // is a value that occurs (definition 1 of Hyndman and Fan 1996), to 0.5 % of its size; 0 without
  // any row.
  std::vector<double> quantiles;
  std::vector<LevelCount> levels;  // Categorical columns, in the order of the specification.
};

[[nodiscard]] bool NeedsQuantiles(const v1::DataSpec& spec);
// Numbers in a payload.
[[nodiscard]] std::size_t PreparationSize(const v1::DataSpec& spec);
// INVALID_ARGUMENT unless every sum could have come from `num_examples` rows: as many numbers as
// the specification asks for, finite; counts whole, not negative and within the rows; sums and
// squares that so many float32 values can have; histograms that add up.
[[nodiscard]] Status CheckPreparation(std::span<const double> sums, const v1::DataSpec& spec,
                                      std::uint64_t num_examples);
// One for each feature that is no array, in order. REQUIRES: PreparationSize(spec) numbers.
[[nodiscard]] std::vector<ColumnStatistics> StatisticsOf(std::span<const double> sums,
                                                         const v1::DataSpec& spec);
// How the rows behind the statistics are to be prepared, for each numeric feature in order: mean
// and deviation; the declared range under standardization range; under robust standardisation
// median and interquartile range / 1.349, 1 for a range of 0; 0 and 1 without standardisation.
// `imputed` is mean or median as the feature says. REQUIRES: statistics of this specification.
[[nodiscard]] std::vector<Moments> PreparationOf(const std::vector<ColumnStatistics>& statistics,
                                                 const v1::DataSpec& spec);

}  // namespace chorale::data
