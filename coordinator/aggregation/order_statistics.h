#pragma once

#include <cstddef>
#include <span>

#include "chorale/v1/jobs.pb.h"
#include "coordinator/aggregation/rule_run.h"
#include "core/status.h"

// Rules that look at each coordinate by itself, so that no site moves it far (Yin et al. 2018). No
// result depends on the order of sites or the number of threads.
namespace chorale::coordinator {

// next[i] = base[i] + the median over k of updates[k][i], rounded once to float32; of an even
// number of updates the mean of the two in the middle. REQUIRES: equal sizes, finite updates, at
// least one.
void AddMedian(std::span<const float> base, std::span<const std::span<const float>> updates,
               std::span<float> next, int num_threads);

// next[i] = base[i] + the mean over k of updates[k][i] without the `num_trimmed` smallest and the
// `num_trimmed` largest. REQUIRES: as above, and 2 * num_trimmed below the number of updates.
void AddTrimmedMean(std::span<const float> base, std::span<const std::span<const float>> updates,
                    std::size_t num_trimmed, std::span<float> next, int num_threads);

// floor(share * num_updates), at either end; a product that misses a whole number by under 1e-9
// (0.29 * 100 in binary) counts as that number. One update, or two, are always left.
[[nodiscard]] std::size_t NumTrimmed(double share, std::size_t num_updates);

[[nodiscard]] StatusOr<HeldPayload> ApplyMedian(const RuleRun& run);
[[nodiscard]] StatusOr<HeldPayload> ApplyTrimmedMean(const RuleRun& run,
                                                     const v1::TrimmedMean& spec);

}  // namespace chorale::coordinator
