#include "site_agent/noisy_metrics.h"

#include <algorithm>
#include <utility>

#include "jobs/private_metrics.h"
#include "privacy/noise/grid.h"
#include "site_agent/patient_vectors.h"

namespace chorale::site_agent {
namespace {

void AddPatients(const NoisyMetricsRequest& request, const training::RowEvaluation& told,
                 privacy::PatientSum& sum) {
  const std::size_t num_outputs = request.plan.num_outputs();
  std::vector<double> vector(jobs::NumMetricSums(request.spec));
  for (const std::vector<std::size_t>& rows : RowsByPatient(request.examples.patients)) {
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
  return SumPatientVectors({.sum = jobs::MetricSumOf(privacy.metrics()),
                            .privacy = privacy,
                            .honest_sites = request.honest_sites,
                            .purpose = "metrics",
                            .num_threads = request.num_threads},
                           std::move(key), [&](privacy::PatientSum& patients) -> Status {
                             CHORALE_ASSIGN_OR_RETURN(const training::RowEvaluation told,
                                                      request.trainer.EvaluateRows(
                                                          request.plan, request.parameters,
                                                          request.examples, &request.cancelled));
                             AddPatients(request, told, patients);
                             return OkStatus();
                           });
}

}  // namespace chorale::site_agent
