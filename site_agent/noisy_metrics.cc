#include "site_agent/noisy_metrics.h"

#include <algorithm>
#include <utility>

#include "jobs/private_metrics.h"
#include "privacy/noise/discrete_gaussian.h"
#include "privacy/noise/grid.h"

namespace chorale::site_agent {
namespace {

// Rows of each patient.
std::vector<std::vector<std::size_t>> RowsByPatient(const data::Examples& examples) {
  std::vector<std::vector<std::size_t>> rows;
  for (std::size_t row = 0; row < examples.patients.size(); ++row) {
    const std::size_t patient = examples.patients[row];
    if (patient >= rows.size()) rows.resize(patient + 1);
    rows[patient].push_back(row);
  }
  return rows;
}

void AddPatients(const NoisyMetricsRequest& request, const training::RowEvaluation& told,
                 privacy::PatientSum& sum) {
  const std::size_t num_outputs = request.plan.num_outputs();
  std::vector<double> vector(jobs::NumMetricSums(request.spec));
  for (const std::vector<std::size_t>& rows : RowsByPatient(request.examples)) {
    std::ranges::fill(vector, 0.0);
    for (const std::size_t row : rows) {
      const jobs::RowScore score{
          .loss = told.losses[row],
          .right = told.right.empty() ? 0.0 : double{told.right[row]},
          .score = told.told[row * num_outputs],
          .is_positive = request.examples.targets[row * request.examples.num_targets] == 1};
      jobs::AddRow(request.spec.privacy().metrics(), score, 1.0 / static_cast<double>(rows.size()),
                   vector);
    }
    // What fails its check adds nothing, and nobody is told.
    sum.Add(std::span<const double>(vector));
  }
}

}  // namespace

StatusOr<std::vector<std::int64_t>> NoisyMetrics(const NoisyMetricsRequest& request,
                                                 privacy::NoiseKey key) {
  const v1::PrivacySpec& privacy = request.spec.privacy();
  CHORALE_ASSIGN_OR_RETURN(const privacy::Grid grid, jobs::MetricGridOf(privacy));
  CHORALE_ASSIGN_OR_RETURN(const privacy::NoiseShare share,
                           jobs::MetricNoiseShareOf(privacy, request.honest_sites));
  CHORALE_ASSIGN_OR_RETURN(const privacy::DiscreteGaussian gaussian,
                           privacy::DiscreteGaussian::Create(share.variance));
  std::vector<std::int64_t> noisy(grid.num_parameters());
  CHORALE_ASSIGN_OR_RETURN(privacy::NoiseStream stream, key.Open({.purpose = "metrics"}));
  gaussian.Draw(std::move(stream), noisy, request.num_threads);

  CHORALE_ASSIGN_OR_RETURN(const training::RowEvaluation told,
                           request.trainer.EvaluateRows(request.plan, request.parameters,
                                                        request.examples, &request.cancelled));
  privacy::PatientSum patients(grid);
  AddPatients(request, told, patients);
  // Modulo 2^64, as in the ring that sums are masked in.
  for (std::size_t i = 0; i < noisy.size(); ++i) {
    noisy[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(noisy[i]) +
                                         static_cast<std::uint64_t>(patients.sum()[i]));
  }
  return noisy;
}

}  // namespace chorale::site_agent
