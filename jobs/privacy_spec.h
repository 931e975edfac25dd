#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "models/graph.h"
#include "privacy/accountant.h"
#include "privacy/event.h"
#include "privacy/noise/grid.h"
#include "privacy/statement.h"
#include "secagg/parameters.h"

// What differential privacy means for a job: the noise, and what the job costs a site's patients.
// Everybody computes it from the signed specification alone.
namespace chorale::jobs {

[[nodiscard]] bool IsPrivate(const v1::JobSpec& spec);

// INVALID_ARGUMENT as a config::FieldError: a bound of job_spec.proto broken, or another part of
// the job that would tell of rows without noise. `plan` is that of the job's model. A noise
// multiplier may be missing.
[[nodiscard]] Status ValidatePrivacy(const v1::JobSpec& spec, const models::GraphPlan& plan);

// Noisy sums over one site's patients in one round: 1 under newton. REQUIRES of all below: a
// private job that Validate() accepts, with a noise multiplier.
[[nodiscard]] std::uint64_t StepsPerRound(const v1::JobSpec& spec);
// rounds.count and the spare ones: what a site lets the job do at most.
[[nodiscard]] std::uint64_t MaxRounds(const v1::JobSpec& spec);
// What sites were asked for, abandoned rounds too: they cost as much.
struct RoundsRun {
  std::uint64_t rounds = 0;        // Of training.
  std::uint64_t with_metrics = 0;  // Of these, with a sum of metrics (private_metrics.h).
  std::uint64_t preparations = 0;  // Before these (private_preparation.h).
};
// All that a site lets the job do: any spare round may be one with metrics.
[[nodiscard]] RoundsRun MostRounds(const v1::JobSpec& spec);
// Those of these numbers, of which 0 is a preparation.
[[nodiscard]] RoundsRun CountRounds(const v1::JobSpec& spec,
                                    std::span<const std::uint32_t> numbers);
// One of the steps (under newton: one sum over all patients), and all that so many rounds come to.
[[nodiscard]] privacy::Event StepOf(const v1::JobSpec& spec);
[[nodiscard]] privacy::Event EventOfRounds(const v1::JobSpec& spec, const RoundsRun& run);
[[nodiscard]] privacy::PrivacyUnit UnitOf(const v1::PrivacySpec& privacy);
[[nodiscard]] privacy::NeighboringRelation RelationOf(const v1::PrivacySpec& privacy);
// Renyi divergences at whole orders: what is known to hold for noise on a grid of integers
// (Canonne, Kamath and Steinke 2020, proposition 5).
[[nodiscard]] privacy::AccountingOptions AccountingOf(const v1::PrivacySpec& privacy);

// What so many rounds guarantee to one unit at one site. INVALID_ARGUMENT: nothing that the
// accountant can show.
[[nodiscard]] StatusOr<privacy::Statement> StatementOf(const v1::JobSpec& spec,
                                                       const RoundsRun& run);

// Whether every noise multiplier is there.
[[nodiscard]] bool HasNoise(const v1::JobSpec& spec);
// Fills in the least noise that keeps the targets, where the job has none: first those of metrics
// and preparation, whose shares of epsilon are given, then that of the steps, which together keep
// the targets.
// FAILED_PRECONDITION: no noise is enough.
[[nodiscard]] Status CalibrateNoise(v1::JobSpec& spec);

// Of gradients, where the job has no newton: the grid of whole numbers that sums are added up on,
// of the job's parameters, and one number more where clipping adapts (adaptive_clipping.h).
// INVALID_ARGUMENT: C would have too many steps, with what to change.
[[nodiscard]] StatusOr<privacy::Grid> GridOf(const v1::PrivacySpec& privacy,
                                             std::uint64_t num_parameters);
[[nodiscard]] privacy::GridEncoding EncodingOf(const v1::PrivacySpec& privacy);
// What one of so many honest sites adds (HonestSites) to a sum of gradients. INVALID_ARGUMENT: a
// grid too coarse for the noise, or a ring too small for the sum, with what to change.
[[nodiscard]] StatusOr<privacy::NoiseShare> NoiseShareOf(const v1::JobSpec& spec,
                                                         std::uint64_t num_parameters,
                                                         std::uint32_t honest_sites);

// Sites whose shares of the noise are in every sum that is revealed, whoever drops out and whoever
// works with the coordinator: each adds so large a part of the variance. 1 with privacy.local.
// REQUIRES: a group that secagg::CheckGroup accepts.
[[nodiscard]] std::uint32_t HonestSites(const v1::JobSpec& spec,
                                        const secagg::GroupParameters& group);

// What sums are divided by: sample_rate * expected_patients.
[[nodiscard]] double ExpectedBatch(const v1::PrivacySpec& privacy);

}  // namespace chorale::jobs
