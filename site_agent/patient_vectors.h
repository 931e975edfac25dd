#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/dataset.h"
#include "jobs/noisy_sum.h"
#include "privacy/noise/grid.h"
#include "privacy/noise/noise_stream.h"
#include "privacy/statement.h"

namespace chorale::site_agent {

// Rows of each patient, from the patients of rows (data::Examples::patients).
[[nodiscard]] std::vector<std::vector<std::size_t>> RowsByPatient(
    std::span<const std::uint32_t> patients);

struct PatientVectorsRequest {
  jobs::NoisySum sum;  // With its noise.
  const v1::PrivacySpec& privacy;
  std::uint32_t honest_sites = 1;  // jobs::HonestSites.
  std::string_view purpose;        // Of the noise: what `sum` is of.
  int num_threads = 1;
};

// The sum of patients' vectors, each rounded to the grid by itself and its norm checked in
// integers, and this site's share of the noise, which is drawn before `add` looks at any row. What
// fails its check adds nothing, and nobody is told. `key` serves nothing else. Modulo 2^64, as in
// the ring that sums are masked in. Errors: those of `add`; INVALID_ARGUMENT, a grid that does not
// fit the noise. [sum.num_values]
[[nodiscard]] StatusOr<std::vector<std::int64_t>> SumPatientVectors(
    const PatientVectorsRequest& request, privacy::NoiseKey key,
    const std::function<Status(privacy::PatientSum&)>& add);

// Adds the vector of every unit among the training rows to the sum of a preparation
// (jobs/private_preparation.h).
void AddColumns(const data::Dataset& dataset, privacy::PrivacyUnit unit, privacy::PatientSum& sum);

}  // namespace chorale::site_agent
