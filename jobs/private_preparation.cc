#include "jobs/private_preparation.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

#include "core/config/yaml.h"
#include "data/data_spec.h"
#include "jobs/field_checks.h"

namespace chorale::jobs {
namespace {

constexpr std::string_view kField = "privacy.preparation";
constexpr double kLeastNoise = 0.01;
constexpr double kMostNoise = 1e6;
constexpr double kLeastShare = 0.001;
constexpr double kMostShare = 0.9;
constexpr std::uint32_t kMostSpares = 10000;
constexpr std::uint32_t kDefaultSpares = 1;
// What lies in [-1, 1] has squares in [0, 1]: half less is shorter.
constexpr double kHalf = 0.5;
// Standard deviations of the noise that a number must be clear of.
constexpr double kClear = 4;

bool MayBeMissing(const v1::NumericFeature& numeric) {
  return numeric.impute() != v1::IMPUTATION_UNSPECIFIED;
}

// Where the parts of a vector lie. The number of patients is at 0.
struct Places {
  struct Feature {
    const v1::FeatureSpec* spec = nullptr;
    std::size_t value = 0;
    std::size_t square = 0;
    std::optional<std::size_t> present = {};  // Where it may be missing.
  };
  explicit Places(const v1::DataSpec& data) {
    for (const v1::FeatureSpec& feature : data.features()) {
      if (!feature.has_numeric()) continue;
      Feature& place = features.emplace_back(Feature{.spec = &feature});
      place.value = size++;
      place.square = size++;
      if (MayBeMissing(feature.numeric())) place.present = size++;
    }
  }
  std::vector<Feature> features;
  std::size_t size = 1;
};

// Of one feature on [-1, 1], where the noise lets it be told.
struct Told {
  std::optional<double> mean;
  std::optional<double> deviation;
};

Told TellOf(double patients, double value, double square, double noise) {
  if (!std::isfinite(patients + value + square)) return {};
  if (patients < kClear * noise || patients < 2) return {};
  Told told;
  const double mean = std::clamp(value / patients, -1.0, 1.0);
  told.mean = mean;
  const double variance = std::min(square / patients + kHalf - mean * mean, 1.0);
  // By the derivatives of the variance along both sums.
  const double uncertainty = noise / patients * std::sqrt(1 + 4 * mean * mean);
  if (variance > kClear * uncertainty) told.deviation = std::sqrt(variance);
  return told;
}

// NaN is none.
double CountOf(double noisy) { return noisy > 0 ? std::min(std::round(noisy), 0x1p53) : 0; }

}  // namespace

bool HasPrivatePreparation(const v1::JobSpec& spec) {
  return spec.has_privacy() &&
         spec.data().standardization() == v1::STANDARDIZATION_FEDERATED_PRIVATE &&
         data::NumNumericFeatures(spec.data()) > 0;
}

Status ValidatePrivatePreparation(const v1::JobSpec& spec) {
  const v1::PrivatePreparation& preparation = spec.privacy().preparation();
  if (!HasPrivatePreparation(spec)) {
    if (!spec.privacy().has_preparation()) return OkStatus();
    return config::FieldError(std::string(kField),
                              "needs data.standardization: federated_private and a numeric "
                              "feature: otherwise nothing is prepared");
  }
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault("privacy.preparation.noise_multiplier",
                                              preparation.noise_multiplier(), kLeastNoise,
                                              kMostNoise));
  CHORALE_RETURN_IF_ERROR(CheckRangeOrDefault(
      "privacy.preparation.epsilon_share", preparation.epsilon_share(), kLeastShare, kMostShare));
  if (preparation.spares() > kMostSpares) {
    return config::FieldError(std::string(kField) + ".spares",
                              "must be at most 10000, got " + std::to_string(preparation.spares()));
  }
  return GridOf(PreparationSumOf(spec), spec.privacy()).status();
}

std::uint64_t MostPreparations(const v1::JobSpec& spec) {
  const std::uint32_t spares = spec.privacy().preparation().spares();
  return 1 + std::uint64_t{spares == 0 ? kDefaultSpares : spares};
}

NoisySum PreparationSumOf(const v1::JobSpec& spec) {
  const Places places(spec.data());
  double square = 1;
  for (const Places::Feature& feature : places.features) {
    square += 1 + kHalf * kHalf + (feature.present.has_value() ? 1 : 0);
  }
  return {.field = kField,
          .num_values = places.size,
          .norm = std::sqrt(square),
          .noise_multiplier = spec.privacy().preparation().noise_multiplier()};
}

PatientColumns::PatientColumns(const data::Dataset& dataset)
    : dataset_(dataset),
      values_(data::NumNumericFeatures(dataset.spec())),
      squares_(values_.size()),
      present_(values_.size()) {
  const Places places(dataset.spec());
  for (const Places::Feature& feature : places.features) {
    may_be_missing_.push_back(feature.present.has_value());
  }
}

std::span<const double> PatientColumns::VectorOf(std::span<const std::size_t> rows) {
  for (std::vector<double>* sums : {&values_, &squares_, &present_}) std::ranges::fill(*sums, 0.0);
  const double weight = 1.0 / static_cast<double>(rows.size());
  for (const std::size_t row : rows) {
    dataset_.AddRangedValues(row, weight, values_, squares_, present_);
  }
  vector_.assign(1, 1.0);
  for (std::size_t i = 0; i < values_.size(); ++i) {
    vector_.push_back(values_[i]);
    vector_.push_back(squares_[i] - kHalf * present_[i]);
    if (may_be_missing_[i]) vector_.push_back(present_[i]);
  }
  return vector_;
}

NoisyMoments NoisyMomentsOf(const v1::JobSpec& spec, std::span<const double> sums) {
  const NoisySum sum = PreparationSumOf(spec);
  const double noise = sum.norm * sum.noise_multiplier;
  const Places places(spec.data());
  NoisyMoments told;
  for (const Places::Feature& feature : places.features) {
    const v1::NumericFeature& numeric = feature.spec->numeric();
    const data::Moments range = data::MomentsOf(numeric.range());
    const double patients = feature.present.has_value() ? sums[*feature.present] : sums[0];
    const Told noisy = TellOf(patients, sums[feature.value], sums[feature.square], noise);
    data::Moments& moments = told.moments.emplace_back(range);
    if (noisy.mean.has_value()) moments.mean += *noisy.mean * range.standard_deviation;
    if (noisy.deviation.has_value()) moments.standard_deviation *= *noisy.deviation;
    if (numeric.impute() == v1::IMPUTATION_MEAN) moments.imputed = moments.mean;

    data::ColumnStatistics& column = told.statistics.emplace_back();
    column.column = feature.spec->column();
    column.count = CountOf(patients);
    column.missing = CountOf(sums[0] - patients);
    column.moments = moments;
  }
  return told;
}

}  // namespace chorale::jobs
