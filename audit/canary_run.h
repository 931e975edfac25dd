#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "privacy/audit/canary_scores.h"
#include "privacy/audit/one_run_bound.h"
#include "privacy/statement.h"
#include "training/local_trainer.h"

// The steps of a private job with made-up patients (canaries), through the code that agents run.
//
// The job's model is replaced by a table with a row for each canary, whose parameters stay at zero:
// then each canary's clipped gradient is the bound C along a parameter of its own (where clipping
// adapts, that of the first round in every one, and what its vote leaves of C). Clipping, grid,
// noise, sampling and the number of steps are the job's. Every canary is a patient, or is not, by
// a coin. Whoever sees the noisy sums of every step, and knows all but the coins, is the adversary
// that the guarantee is about.
namespace chorale::audit {

struct CanaryRunRequest {
  const v1::JobSpec& spec;  // Private, valid, with a noise multiplier.
  std::uint64_t num_canaries = 10'000;
  std::uint32_t num_sites = 3;  // Of the consortium, under privacy.distributed.
  std::uint64_t num_rounds = 1;
  training::LocalTrainer& trainer;
  int num_threads = 1;
  double significance = 1e-3;  // Of all tests together, and of the bound.
  std::function<void(double)> on_progress = {};
  const std::atomic<bool>& cancelled;
};

struct Evidence {
  privacy::Statement claimed;  // Of the steps that were run; metrics are none of them.
  std::vector<privacy::AuditTest> tests;
  // The same at the delta of the bound, which is at most 0.01 over the number of canaries.
  privacy::Statement compared;
  privacy::EpsilonBound lower_bound;  // With confidence 1 - significance.
  std::uint64_t num_steps = 0;
  std::uint32_t honest_sites = 1;  // Whose sums were added up.
};

// Correct code fails this with a probability of at most twice the significance.
[[nodiscard]] bool HasPassed(const privacy::AuditTest& test, const Evidence& evidence,
                             double significance);
[[nodiscard]] bool HasPassed(const Evidence& evidence, double significance);

// The tests of CanaryScores; those of DrawScores, for steps that were run twice with the same key,
// without patients and with all; and replayed_sensitivity: what patients more move a sum by, the
// noise and who else is drawn being the same, over the sensitivity; above 1 is a proof.
// INVALID_ARGUMENT: no private job; canaries too few or more than 2^20; CANCELLED; those of the
// trainer.
[[nodiscard]] StatusOr<Evidence> RunCanaries(const CanaryRunRequest& request);

}  // namespace chorale::audit
