#pragma once

#include <atomic>
#include <optional>
#include <span>
#include <vector>

#include "coordinator/aggregation/server_rule.h"
#include "coordinator/payload_store.h"
#include "core/crypto/digest.h"
#include "core/status.h"
#include "jobs/masking.h"
#include "secagg/mask_stream.h"

// The last thing that secure aggregation does with vectors: adds the survivors' up and takes the
// masks off.
namespace chorale::coordinator {

struct UnmaskedSum {
  jobs::SummedNumbers numbers;
  // Of updates: little-endian float32, [num_update_values]: the mean update, then, under scaffold,
  // the sum of the changes of control variates. Scratch: it goes with its holder.
  std::optional<HeldPayload> updates;
  crypto::Digest digest{};  // SHA-256 of the sum's bytes.
};

// Reads the vectors piece by piece: memory is bounded by pieces, whatever the model's size.
// Addition wraps around in a ring, so that neither order nor threads matter. DATA_LOSS: the disk;
// INVALID_ARGUMENT: no sum that sites could have; FAILED_PRECONDITION: a parameter beyond float32;
// CANCELLED. REQUIRES: at least one vector, each of the layout's size.
[[nodiscard]] StatusOr<UnmaskedSum> UnmaskSum(PayloadStore& payloads,
                                              const jobs::MaskedLayout& layout,
                                              std::span<const Contribution> vectors,
                                              std::span<const secagg::MaskTerm> terms,
                                              int num_threads, const std::atomic<bool>& cancelled);

}  // namespace chorale::coordinator
