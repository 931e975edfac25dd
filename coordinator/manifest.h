#pragma once

#include <string>

#include "chorale/v1/jobs.pb.h"
#include "coordinator/job_entry.h"
#include "core/crypto/blob_digest.h"
#include "identity/identity.h"

// What made a model: a JSON document that the coordinator signs and anybody can check offline.
namespace chorale::coordinator {

// At most 1 MiB: of a very long job the oldest rounds are left out, and the document says how many.
// Totals by site cover every round. The same job gives the same bytes.
[[nodiscard]] std::string MakeManifest(const JobEntry& entry, const crypto::BlobId& weights);

// Manifest, signature (domain "chorale/v1/manifest"), certificate, layout and weights.
[[nodiscard]] v1::PullModelHeader MakePullHeader(const JobEntry& entry,
                                                 const crypto::BlobId& weights,
                                                 const identity::Identity& coordinator);

}  // namespace chorale::coordinator
