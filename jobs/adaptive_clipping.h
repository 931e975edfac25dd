#pragma once

#include <cstdint>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "privacy/noise/grid.h"

// Clipping that adapts (privacy.clipping adaptive; Andrew, Thakkar, McMahan and Ramaswamy 2021,
// arXiv 1905.03871, algorithm 1): gradients are shortened to a norm C_t that follows a quantile of
// their norms from round to round. Everybody computes all of it from the signed specification and
// the noisy counts that are public.
//
// A patient's vector has one part more than the model has parameters. The gradient, shortened to
// C_t, is multiplied by gradient_norm / C_t, and behind it stands the patient's vote
// (training/clipped_sum.h) times count_norm. Together they are no longer than max_grad_norm
// whatever C_t is, so that grid, noise and cost are those of a job whose clipping is fixed.
namespace chorale::jobs {

// Every C_t is in [1e-6, 1e6]; NaN is not.
[[nodiscard]] bool IsClippingNorm(double norm);

[[nodiscard]] bool HasAdaptiveClipping(const v1::PrivacySpec& privacy);

// INVALID_ARGUMENT as a config::FieldError below "privacy": a bound of job_spec.proto broken,
// bounds of adaptive clipping without it, or adaptive clipping with noise at every site. Without a
// noise multiplier count_stddev is not held against it.
[[nodiscard]] Status ValidateAdaptiveClipping(const v1::PrivacySpec& privacy);

// REQUIRES of all below: clipping that adapts and is valid.

// With the defaults filled in; that of count_stddev takes no account of noise that is not known.
[[nodiscard]] v1::AdaptiveClipping AdaptiveClippingOf(const v1::PrivacySpec& privacy);

// How a patient's vector is divided: the squares add up to that of Grid::ClipNorm.
struct ClippingScale {
  double gradient_norm = 0;  // What C_t becomes.
  double count_norm = 0;     // What a vote of 1 becomes: whole steps of the grid, at least 8.
};
// `grid` is that of the job (GridOf). The count's share of the squared norm is z^2 / (4 s^2) for
// noise multiplier z and count_stddev s: votes are worth half a patient, and their noise is then
// z max_grad_norm / (2 count_norm) = s patients. INVALID_ARGUMENT as a config::FieldError: a share
// above a half. REQUIRES: a noise multiplier.
[[nodiscard]] StatusOr<ClippingScale> ClippingScaleOf(const v1::PrivacySpec& privacy,
                                                      const privacy::Grid& grid);
// The standard deviation of the noise on the number of unclipped patients, in patients, where the
// sum has so many shares of which `honest` are counted on. `honest` > 0.
[[nodiscard]] double CountDeviation(const v1::PrivacySpec& privacy, const ClippingScale& scale,
                                    std::uint32_t shares, std::uint32_t honest);
// With which gradients alone would have as much noise for their norm: z_delta of the paper.
[[nodiscard]] double NoiseMultiplierOfGradients(const v1::PrivacySpec& privacy,
                                                const ClippingScale& scale);

// C_{t+1} after a round at `norm` whose noisy votes add up to `votes`: b = 1/2 + votes / (2 *
// expected batch), cut to [0, 1]; C_{t+1} = C_t exp(-learning_rate (b - target_quantile)), cut to
// its bounds. Votes of as many patients for as against leave b at 1/2 whatever their number is.
[[nodiscard]] double NextClippingNorm(const v1::PrivacySpec& privacy, double norm, double votes);

// Whether C_t can be `norm` in this round, from 1: the first is the job's, and b in [0, 1] bounds
// every further step. INVALID_ARGUMENT names the bounds. Takes any norm.
[[nodiscard]] Status CheckClippingNorm(const v1::PrivacySpec& privacy, std::uint32_t round,
                                       double norm);

}  // namespace chorale::jobs
