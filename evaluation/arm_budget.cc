#include "evaluation/arm_budget.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "training/batch_schedule.h"

namespace chorale::evaluation {

Budget BudgetOf(const v1::TrainingSpec& training, const Size& size) {
  const std::uint64_t patients = training::PatientsProcessed(training, size.patients);
  // An epoch meets every row; a part of one as many rows as its patients have on average.
  const std::uint64_t rest = patients % size.patients;
  return {.steps = training::NumSteps(training, size.patients),
          .patients = patients,
          .examples = patients / size.patients * size.rows +
                      (rest * size.rows + size.patients / 2) / size.patients};
}

Budget FederatedRound(const v1::JobSpec& job, std::span<const Size> sites) {
  Budget all;
  for (const Size& size : sites) {
    const Budget own = job.has_newton()
                           ? Budget{.steps = 0, .patients = size.patients, .examples = size.rows}
                           : BudgetOf(job.training(), size);
    all.steps += own.steps;
    all.patients += own.patients;
    all.examples += own.examples;
  }
  if (job.has_newton()) all.steps = 1;
  std::size_t num_asked = sites.size();
  if (job.aggregation().has_cyclic()) {
    num_asked = 1;
  } else if (job.rounds().cohort_size() > 0) {
    num_asked = std::min<std::size_t>(num_asked, job.rounds().cohort_size());
  }
  if (num_asked == sites.size()) return all;
  const double share = static_cast<double>(num_asked) / static_cast<double>(sites.size());
  const auto part = [share](std::uint64_t whole) {
    return static_cast<std::uint64_t>(std::llround(share * static_cast<double>(whole)));
  };
  return {.steps = part(all.steps), .patients = part(all.patients), .examples = part(all.examples)};
}

}  // namespace chorale::evaluation
