#include "site_agent/patient_vectors.h"

#include <string>
#include <utility>

#include "jobs/private_preparation.h"
#include "privacy/noise/discrete_gaussian.h"

namespace chorale::site_agent {

std::vector<std::vector<std::size_t>> RowsByPatient(std::span<const std::uint32_t> patients) {
  std::vector<std::vector<std::size_t>> rows;
  for (std::size_t row = 0; row < patients.size(); ++row) {
    const std::size_t patient = patients[row];
    if (patient >= rows.size()) rows.resize(patient + 1);
    rows[patient].push_back(row);
  }
  return rows;
}

StatusOr<std::vector<std::int64_t>> SumPatientVectors(
    const PatientVectorsRequest& request, privacy::NoiseKey key,
    const std::function<Status(privacy::PatientSum&)>& add) {
  CHORALE_ASSIGN_OR_RETURN(const privacy::Grid grid, jobs::GridOf(request.sum, request.privacy));
  CHORALE_ASSIGN_OR_RETURN(const privacy::NoiseShare share,
                           jobs::NoiseShareOf(request.sum, request.privacy, request.honest_sites));
  CHORALE_ASSIGN_OR_RETURN(const privacy::DiscreteGaussian gaussian,
                           privacy::DiscreteGaussian::Create(share.variance));
  std::vector<std::int64_t> noisy(grid.num_parameters());
  CHORALE_ASSIGN_OR_RETURN(privacy::NoiseStream stream,
                           key.Open({.purpose = std::string(request.purpose)}));
  gaussian.Draw(std::move(stream), noisy, request.num_threads);

  privacy::PatientSum patients(grid);
  CHORALE_RETURN_IF_ERROR(add(patients));
  for (std::size_t i = 0; i < noisy.size(); ++i) {
    noisy[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(noisy[i]) +
                                         static_cast<std::uint64_t>(patients.sum()[i]));
  }
  return noisy;
}

void AddColumns(const data::Dataset& dataset, privacy::PrivacyUnit unit, privacy::PatientSum& sum) {
  jobs::PatientColumns columns(dataset);
  if (unit == privacy::PrivacyUnit::kRecord) {
    for (std::size_t row = 0; row < dataset.num_training_rows(); ++row) {
      sum.Add(columns.VectorOf(std::span(&row, 1)));
    }
    return;
  }
  for (const std::vector<std::size_t>& rows : RowsByPatient(dataset.training_patients())) {
    sum.Add(columns.VectorOf(rows));
  }
}

}  // namespace chorale::site_agent
