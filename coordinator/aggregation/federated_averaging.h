#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "coordinator/payload_store.h"
#include "core/crypto/blob_digest.h"
#include "core/ids.h"
#include "core/status.h"

// Federated averaging (McMahan et al. 2017): the next global model is the present one plus the
// weighted mean of the sites' updates.
namespace chorale::coordinator {

struct Contribution {
  SiteId site = {};
  crypto::BlobId payload = {};
  std::uint64_t num_examples = 0;
};

struct AveragingRequest {
  crypto::BlobId model = {};  // Little-endian float32, [num_parameters].
  std::vector<Contribution> contributions =
      {};  // Payloads of the same shape. Sorted by site id, at least one.
  v1::Weighting weighting = v1::WEIGHTING_UNSPECIFIED;
};

// Weights that add up to 1, in the order of the contributions. INVALID_ARGUMENT: no weighting, no
// examples.
[[nodiscard]] StatusOr<std::vector<double>> ContributionWeights(const AveragingRequest& request);

// Reads model and updates piece by piece and writes the next model; memory is bounded by pieces,
// whatever the model's size. The same request gives the same bytes for any number of threads.
// INVALID_ARGUMENT: sizes that differ; FAILED_PRECONDITION: a parameter beyond float32 (training
// diverged); DATA_LOSS, RESOURCE_EXHAUSTED: the disk; CANCELLED.
[[nodiscard]] StatusOr<HeldPayload> AverageUpdates(PayloadStore& payloads,
                                                   const AveragingRequest& request, int num_threads,
                                                   const std::atomic<bool>& cancelled);

}  // namespace chorale::coordinator
