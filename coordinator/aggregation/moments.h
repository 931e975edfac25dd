#pragma once

#include <cstdint>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "coordinator/aggregation/federated_averaging.h"
#include "coordinator/payload_store.h"
#include "core/bytes.h"
#include "core/status.h"

// What a preparation round adds up: count, sum and sum of squares of each numeric feature.
namespace chorale::coordinator {

inline constexpr std::uint64_t kSumsPerFeature = 3;

// Bytes of a preparation payload: little-endian float64, [num_numeric_features, 3].
[[nodiscard]] inline std::uint64_t MomentPayloadBytes(std::uint64_t num_numeric_features) {
  return num_numeric_features * kSumsPerFeature * sizeof(double);
}

// INVALID_ARGUMENT unless every sum could have come from `num_examples` rows: finite, counts whole
// and within the rows, squares not negative.
[[nodiscard]] Status CheckMomentSums(ByteSpan payload, std::uint64_t num_examples);

// Adds the sites' sums, in site order, and turns them into moments. INVALID_ARGUMENT: sizes that
// differ.
[[nodiscard]] StatusOr<std::vector<v1::FeatureMoments>> AggregateMoments(
    const PayloadStore& payloads, const std::vector<Contribution>& contributions);

}  // namespace chorale::coordinator
