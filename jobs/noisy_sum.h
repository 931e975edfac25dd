#pragma once

#include <cstdint>
#include <string_view>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "privacy/event.h"
#include "privacy/noise/grid.h"

// What a private job adds up over patients beside clipped gradients: each patient has a vector of
// bounded length, which is rounded to a grid and checked in integers (encoding verified), and the
// sum over all patients of a site, without sampling, leaves with noise in a ring of 64 bits.
namespace chorale::jobs {

struct NoisySum {
  std::string_view field;        // Of the job, for errors: "privacy.metrics".
  std::uint64_t num_values = 0;  // In a patient's vector.
  double norm = 0;               // That a patient's vector has at most.
  double noise_multiplier = 0;   // Standard deviation over `norm`; 0: none was chosen yet.
};

// The grid that patients' vectors are rounded to. INVALID_ARGUMENT: the norm would have too many
// steps, with what to change.
[[nodiscard]] StatusOr<privacy::Grid> GridOf(const NoisySum& sum, const v1::PrivacySpec& privacy);
// What one of so many honest sites adds. INVALID_ARGUMENT: a grid too coarse for the noise, with
// what to change. REQUIRES: a noise multiplier.
[[nodiscard]] StatusOr<privacy::NoiseShare> NoiseShareOf(const NoisySum& sum,
                                                         const v1::PrivacySpec& privacy,
                                                         std::uint32_t honest_sites);
// What it costs. REQUIRES: a noise multiplier.
[[nodiscard]] privacy::Event EventOf(const NoisySum& sum);

}  // namespace chorale::jobs
