#include "data/preparation.h"

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <numeric>

#include "data/data_spec.h"

namespace chorale::data {
namespace {

constexpr std::size_t kZeroBin = kNumBins / 2;
constexpr double kSmallest = 1e-7;
// Logarithm of the ratio of a bin's ends. Its middle is off by tanh(kLogWidth / 2) < 0.5 %.
constexpr double kLogWidth = 0.00999;

constexpr std::size_t kCount = 0;
constexpr std::size_t kSum = 1;
constexpr std::size_t kSquares = 2;
constexpr std::size_t kMissing = 3;
constexpr std::size_t kNumSums = 4;

constexpr std::array<double, 5> kPercents = {5, 25, 50, 75, 95};
constexpr std::size_t kLowerQuartile = 1;
constexpr std::size_t kMedian = 2;
constexpr std::size_t kUpperQuartile = 3;
// Interquartile range of a normal distribution of deviation 1.
constexpr double kNormalRange = 1.349;

// What rounding may add to honest sums, as a share, and what squares lose by underflow, a value.
constexpr double kSlack = 1e-9;
constexpr double kUnderflow = 1e-150;

std::size_t SizeOf(const v1::FeatureSpec& feature, bool needs_quantiles) {
  if (feature.has_numeric()) return kNumSums + (needs_quantiles ? kNumBins : 0);
  if (!feature.has_categorical()) return 0;
  return static_cast<std::size_t>(feature.categorical().levels_size()) + 1;
}

// Calls `visit` with each feature that has sums, and these.
template <typename Visit>
void ForEachFeature(std::span<const double> sums, const v1::DataSpec& spec, Visit visit) {
  const bool needs_quantiles = NeedsQuantiles(spec);
  std::size_t begin = 0;
  for (const v1::FeatureSpec& feature : spec.features()) {
    const std::size_t size = SizeOf(feature, needs_quantiles);
    if (size > 0) visit(feature, sums.subspan(begin, size));
    begin += size;
  }
}

bool IsCount(double value, double most) {
  return value >= 0 && value <= most && value == std::floor(value);
}

// Nothing when the sums of one feature could come from so many rows.
std::string_view ProblemOf(const v1::FeatureSpec& feature, std::span<const double> sums,
                           double num_rows) {
  if (!std::all_of(sums.begin(), sums.end(), [](double sum) { return std::isfinite(sum); })) {
    return "must be finite";
  }
  constexpr std::string_view kNoCounts =
      "must count rows: whole numbers, not negative, together at most num_examples";
  const auto are_counts = [num_rows](std::span<const double> counts) {
    return std::all_of(counts.begin(), counts.end(),
                       [num_rows](double count) { return IsCount(count, num_rows); }) &&
           std::accumulate(counts.begin(), counts.end(), 0.0) <= num_rows;
  };
  if (feature.has_categorical()) return are_counts(sums) ? "" : kNoCounts;

  const std::array<double, 2> rows = {sums[kCount], sums[kMissing]};
  if (!are_counts(rows)) return kNoCounts;
  const double count = sums[kCount];
  const double squares = sums[kSquares];
  if (squares < 0) return "must have squares that are not negative";
  if (squares > count * FLT_MAX * FLT_MAX * (1 + kSlack)) {
    return "must have squares that float32 values can have";
  }
  // The inequality of Cauchy and Schwarz.
  if (std::abs(sums[kSum]) >
      std::sqrt(count) * std::sqrt(squares) * (1 + kSlack) + count * kUnderflow) {
    return "must have a sum that fits the squares";
  }
  const std::span<const double> bins = sums.subspan(kNumSums);
  if (bins.empty()) return "";
  if (!are_counts(bins)) return kNoCounts;
  if (std::accumulate(bins.begin(), bins.end(), 0.0) != count) {
    return "must have bins that add up to the rows with a value";
  }
  return "";
}

double QuantileOf(std::span<const double> bins, double count, double percent) {
  if (!(count > 0)) return 0;
  const double rank = std::max(1.0, std::ceil(percent * count / 100));
  double below = 0;
  std::size_t last = kZeroBin;  // Rounding of counts beyond 2^53 can leave the rank out of reach.
  for (std::size_t bin = 0; bin < bins.size(); ++bin) {
    if (bins[bin] > 0) last = bin;
    below += bins[bin];
    if (below >= rank) break;
  }
  return MiddleOfBin(last);
}

double ImputedOf(const v1::NumericFeature& feature, const ColumnStatistics& column) {
  switch (feature.impute()) {
    case v1::IMPUTATION_MEAN:
      return column.moments.mean;
    case v1::IMPUTATION_MEDIAN:
      return column.quantiles.empty() ? column.moments.mean : column.quantiles[kMedian];
    default:  // Values of a later version too: nothing is imputed.
      return 0;
  }
}

Moments StandardizationOf(const ColumnStatistics& column, v1::Standardization standardization) {
  if (standardization == v1::STANDARDIZATION_NONE) return {};
  if (standardization != v1::STANDARDIZATION_FEDERATED_ROBUST || column.quantiles.empty()) {
    return column.moments;
  }
  const double range = column.quantiles[kUpperQuartile] - column.quantiles[kLowerQuartile];
  return {.mean = column.quantiles[kMedian],
          .standard_deviation = range > 0 ? range / kNormalRange : 1};
}

}  // namespace

std::size_t BinOf(double value) {
  const double size = std::abs(value);
  if (!(size >= kSmallest)) return kZeroBin;
  const double place = std::log(size / kSmallest) / kLogWidth;
  const std::size_t steps =
      place < static_cast<double>(kZeroBin) ? static_cast<std::size_t>(place) : kZeroBin - 1;
  return value < 0 ? kZeroBin - 1 - steps : kZeroBin + 1 + steps;
}

double MiddleOfBin(std::size_t bin) {
  if (bin == kZeroBin) return 0;
  const std::size_t steps = bin > kZeroBin ? bin - kZeroBin - 1 : kZeroBin - 1 - bin;
  const double low = kSmallest * std::exp(kLogWidth * static_cast<double>(steps));
  // The harmonic mean of both ends: the same relative error from either.
  const double middle = low * 2 / (1 + std::exp(-kLogWidth));
  return bin > kZeroBin ? middle : -middle;
}

bool NeedsQuantiles(const v1::DataSpec& spec) {
  return spec.standardization() == v1::STANDARDIZATION_FEDERATED_ROBUST ||
         std::any_of(spec.features().begin(), spec.features().end(), [](const auto& feature) {
           return feature.numeric().impute() == v1::IMPUTATION_MEDIAN;
         });
}

std::size_t PreparationSize(const v1::DataSpec& spec) {
  const bool needs_quantiles = NeedsQuantiles(spec);
  return std::accumulate(spec.features().begin(), spec.features().end(), std::size_t{0},
                         [needs_quantiles](std::size_t size, const v1::FeatureSpec& feature) {
                           return size + SizeOf(feature, needs_quantiles);
                         });
}

Status CheckPreparation(std::span<const double> sums, const v1::DataSpec& spec,
                        std::uint64_t num_examples) {
  if (sums.size() != PreparationSize(spec)) {
    return InvalidArgument("a preparation payload must have " +
                           std::to_string(PreparationSize(spec)) + " sums for this job, got " +
                           std::to_string(sums.size()));
  }
  Status status = OkStatus();
  ForEachFeature(sums, spec, [&](const v1::FeatureSpec& feature, std::span<const double> own) {
    if (!status.ok()) return;
    const std::string_view problem = ProblemOf(feature, own, static_cast<double>(num_examples));
    if (!problem.empty()) {
      status =
          InvalidArgument("the sums of column '" + feature.column() + "' " + std::string(problem));
    }
  });
  return status;
}

std::vector<ColumnStatistics> StatisticsOf(std::span<const double> sums, const v1::DataSpec& spec) {
  std::vector<ColumnStatistics> statistics;
  ForEachFeature(sums, spec, [&](const v1::FeatureSpec& feature, std::span<const double> own) {
    ColumnStatistics& column = statistics.emplace_back();
    column.column = feature.column();
    if (feature.has_categorical()) {
      column.missing = own.back();
      for (std::size_t i = 0; i + 1 < own.size(); ++i) {
        column.levels.push_back({feature.categorical().levels(static_cast<int>(i)), own[i]});
        column.count += own[i];
      }
      return;
    }
    column.count = own[kCount];
    column.missing = own[kMissing];
    column.moments = MomentsOf(
        MomentSums{.count = own[kCount], .sum = own[kSum], .sum_of_squares = own[kSquares]});
    const std::span<const double> bins = own.subspan(kNumSums);
    if (bins.empty()) return;
    for (const double percent : kPercents) {
      column.quantiles.push_back(QuantileOf(bins, column.count, percent));
    }
  });
  return statistics;
}

std::vector<Moments> PreparationOf(const std::vector<ColumnStatistics>& statistics,
                                   const v1::DataSpec& spec) {
  std::vector<Moments> moments;
  std::size_t next = 0;
  for (const v1::FeatureSpec& feature : spec.features()) {
    if (feature.has_categorical()) ++next;
    if (!feature.has_numeric()) continue;
    const ColumnStatistics& column = statistics[next++];
    if (spec.standardization() == v1::STANDARDIZATION_RANGE) {
      moments.push_back(MomentsOf(feature.numeric().range()));
      continue;
    }
    moments.push_back(StandardizationOf(column, spec.standardization()));
    moments.back().imputed = ImputedOf(feature.numeric(), column);
  }
  return moments;
}

}  // namespace chorale::data
