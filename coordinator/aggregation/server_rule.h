#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "coordinator/payload_store.h"
#include "core/crypto/blob_digest.h"
#include "core/ids.h"
#include "core/status.h"

// From the updates of one round to the next global model: averaging, optimizers at the server,
// rules that withstand hostile sites. Each rule is in a file of its own; this is what the
// coordinator calls.
namespace chorale::coordinator {

struct Contribution {
  SiteId site = {};
  // Little-endian float32: the update [num_parameters]; under scaffold the change of the site's
  // control variate behind it.
  crypto::BlobId payload = {};
  std::uint64_t num_examples = 0;
};

struct ServerRuleRequest {
  crypto::BlobId model = {};  // Little-endian float32, [num_parameters].
  // What the rule carried over; unset before its first round. Little-endian float32:
  // fedavgm [m]; fedadam, fedyogi [m, v]; fedadagrad [m, v]; scaffold [c]; each [num_parameters].
  std::optional<crypto::BlobId> state = {};
  std::vector<Contribution> contributions = {};  // Sorted by site id, at least one.
  v1::AggregationSpec rule = {};      // Valid, with the defaults filled in (jobs::WithDefaults).
  bool has_control_variates = false;  // Scaffold: payloads have twice the model's size.
  std::uint32_t cohort_size = 0;      // Sites that were asked: scaffold divides by them.
};

struct ServerRuleResult {
  HeldPayload model;
  std::optional<HeldPayload> state;  // None: the rule carries nothing over.
};

// Reads and writes piece by piece; memory is bounded by pieces, whatever the model's size. The same
// request gives the same bytes for any number of threads. INVALID_ARGUMENT: sizes that differ, no
// examples; FAILED_PRECONDITION: a parameter beyond float32 (training diverged), too few reports
// for the rule; DATA_LOSS, RESOURCE_EXHAUSTED: the disk; CANCELLED.
[[nodiscard]] StatusOr<ServerRuleResult> ApplyServerRule(PayloadStore& payloads,
                                                         const ServerRuleRequest& request,
                                                         int num_threads,
                                                         const std::atomic<bool>& cancelled);

}  // namespace chorale::coordinator
