#pragma once

#include <vector>

#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/ids.h"
#include "core/parameters.h"
#include "core/random.h"
#include "core/status.h"
#include "site_agent/cancellation.h"
#include "site_agent/link.h"

namespace chorale::site_agent {

// Fetches parameters chunk by chunk, each checked against its digest and the whole against `blob`.
// A broken transfer goes on where it broke, after a jittered pause, until it is done or cancelled:
// the task's deadline is the caller's. REQUIRES: a size that the caller bounded and that is a
// multiple of 4. Errors: CANCELLED; DATA_LOSS or INVALID_ARGUMENT, the bytes are not the blob's;
// NOT_FOUND, PERMISSION_DENIED or FAILED_PRECONDITION, the coordinator does not give it.
[[nodiscard]] StatusOr<ParameterVector> FetchParameters(BlobSource& source, const TaskId& task,
                                                        const crypto::BlobId& blob,
                                                        RandomSource& random,
                                                        Cancellation& cancellation);

// The same for float64, a multiple of 8.
[[nodiscard]] StatusOr<std::vector<double>> FetchCoefficients(BlobSource& source,
                                                              const TaskId& task,
                                                              const crypto::BlobId& blob,
                                                              RandomSource& random,
                                                              Cancellation& cancellation);

// The same for a message of any size but 0.
[[nodiscard]] StatusOr<Bytes> FetchMessage(BlobSource& source, const TaskId& task,
                                           const crypto::BlobId& blob, RandomSource& random,
                                           Cancellation& cancellation);

}  // namespace chorale::site_agent
