#pragma once

#include <string_view>

#include "chorale/v1/identity.pb.h"
#include "core/bytes.h"
#include "core/crypto/certificate.h"
#include "core/crypto/signature.h"
#include "core/status.h"
#include "identity/enrolment.h"

// Private to this folder: what enrolment exchanges, checked as far as bytes alone can tell.
namespace chorale::identity {

inline constexpr std::size_t kMostMessageBytes = 65536;
inline constexpr std::size_t kTokenIdBytes = 8;
inline constexpr std::size_t kTokenSecretBytes = 16;
inline constexpr std::size_t kTokenFingerprintBytes = 16;

// A request that proves the keys and the token's secret.
[[nodiscard]] StatusOr<v1::EnrolmentRequest> MakeEnrolmentRequest(
    const Token& token, const crypto::TlsKey& tls_key, const crypto::SigningKey& signing_key);

// INVALID_ARGUMENT: over 64 KiB, no such message, or a field that cannot be right.
[[nodiscard]] StatusOr<v1::EnrolmentRequest> DecodeEnrolmentRequest(std::string_view bytes);

// PERMISSION_DENIED: whoever wrote the request did not know the secret; or did not hold the signing
// key. REQUIRES: decoded by DecodeEnrolmentRequest.
[[nodiscard]] Status VerifyTokenProof(const v1::EnrolmentRequest& request, ByteSpan token_secret);
[[nodiscard]] Status VerifyKeyProof(const v1::EnrolmentRequest& request);
[[nodiscard]] crypto::SigningPublicKey SigningKeyOf(const v1::EnrolmentRequest& request);

struct Bundle {
  std::string token_id;
  crypto::Certificate certificate;
  crypto::Certificate root;
};
// INVALID_ARGUMENT: over 64 KiB, no such message, or certificates that are none.
[[nodiscard]] StatusOr<Bundle> DecodeEnrolmentBundle(std::string_view bytes);

}  // namespace chorale::identity
