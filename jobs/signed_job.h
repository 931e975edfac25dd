#pragma once

#include "chorale/v1/jobs.pb.h"
#include "core/crypto/certificate.h"
#include "core/crypto/digest.h"
#include "core/status.h"
#include "core/time.h"
#include "identity/identity.h"
#include "identity/party.h"

namespace chorale::jobs {

// Serialises and signs a specification with the researcher's signing key.
[[nodiscard]] v1::SignedJob SignJob(const v1::JobSpec& spec, const identity::Identity& researcher);

// A job whose author is known and whose specification is valid.
struct VerifiedJob {
  v1::JobSpec spec;
  identity::Party researcher;
  crypto::Digest spec_digest;  // SHA-256 of the bytes as received.
};

// Trusts nothing but `root`. UNAUTHENTICATED: the certificate; PERMISSION_DENIED: no researcher's,
// or the signature does not fit; INVALID_ARGUMENT: malformed, too large, or unknown fields that
// this version would ignore.
[[nodiscard]] StatusOr<VerifiedJob> VerifySignedJob(const v1::SignedJob& job,
                                                    const crypto::Certificate& root, Time now);

}  // namespace chorale::jobs
