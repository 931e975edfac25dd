#pragma once

#include <cstdint>
#include <span>

#include "chorale/v1/jobs.pb.h"

// What a round of training costs, so that arms can be given the same. Private to arms.cc.
namespace chorale::evaluation {

// The training rows of a site, or of the pool.
struct Size {
  std::uint64_t rows = 0;
  std::uint64_t patients = 0;  // What batches are drawn over. At least 1.
};

struct Budget {
  std::uint64_t steps = 0;
  std::uint64_t patients = 0;  // Met, counted with repetition; likewise:
  std::uint64_t examples = 0;
};

// Of one round at one site.
[[nodiscard]] Budget BudgetOf(const v1::TrainingSpec& training, const Size& size);

// Of the sites that one round asks, together: all, a cohort or one, as they are on average. Of a
// newton job: one step over the rows of all.
[[nodiscard]] Budget FederatedRound(const v1::JobSpec& job, std::span<const Size> sites);

}  // namespace chorale::evaluation
