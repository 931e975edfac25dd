#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/dataset.h"
#include "data/moments.h"
#include "data/preparation.h"
#include "jobs/noisy_sum.h"

// How a private job standardises over all sites (standardization federated_private): means and
// deviations of numeric features from one noisy sum over patients, before the first round. A
// patient adds 1, and means over the patient's rows: for each numeric feature the value that its
// range brings onto [-1, 1], and half a square more or less, x^2 - 1/2; for each feature that may
// be missing, the share of rows that have it. Rows without a value add nothing to a feature.
// Everybody computes all of it from the signed specification alone.
namespace chorale::jobs {

// Whether the job has such a sum.
[[nodiscard]] bool HasPrivatePreparation(const v1::JobSpec& spec);

// INVALID_ARGUMENT as a config::FieldError at "privacy.preparation". REQUIRES: a valid
// specification of data.
[[nodiscard]] Status ValidatePrivatePreparation(const v1::JobSpec& spec);

// REQUIRES of all below: a job that has one, and is valid.

// Sums that a site lets the job have, the spare ones too: a preparation that is abandoned is
// repeated and costs as much again.
[[nodiscard]] std::uint64_t MostPreparations(const v1::JobSpec& spec);

// A patient's vector has a length of at most the root of 1 + 5/4 features + features that may be
// missing.
[[nodiscard]] NoisySum PreparationSumOf(const v1::JobSpec& spec);

// Adds a training row to its patient's vector, with a weight of one over the number of the
// patient's rows. [PreparationSumOf().num_values]
class PatientColumns {
 public:
  // `dataset` must outlive it.
  explicit PatientColumns(const data::Dataset& dataset);
  // [num_values] The vector of the patient with these rows; valid until the next call.
  [[nodiscard]] std::span<const double> VectorOf(std::span<const std::size_t> rows);

 private:
  const data::Dataset& dataset_;
  // [num_numeric_features]
  std::vector<double> values_, squares_, present_;
  std::vector<bool> may_be_missing_;
  std::vector<double> vector_;
};

// What noisy sums tell of each numeric feature, in order: how rows are to be prepared, and the
// same as statistics. A mean or a deviation that noise covers is not told: the range's stands for
// it. Any sums: what comes out is finite, with a mean within the range and a deviation above 0.
// [num_numeric_features]
struct NoisyMoments {
  std::vector<data::Moments> moments;
  std::vector<data::ColumnStatistics> statistics;
};
[[nodiscard]] NoisyMoments NoisyMomentsOf(const v1::JobSpec& spec, std::span<const double> sums);

}  // namespace chorale::jobs
