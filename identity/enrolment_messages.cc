#include "identity/enrolment_messages.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/crypto/digest.h"

namespace chorale::identity {
namespace {

constexpr std::string_view kDomain = "chorale/v1/enrol";
constexpr std::size_t kMostCsrBytes = 16384;

// "chorale/v1/enrol" || 0x00 || csr || signing_key: the key has a fixed size, so the parts cannot
// shift.
crypto::Digest TokenProof(const v1::EnrolmentRequest& request, ByteSpan secret) {
  std::string message(kDomain);
  message.push_back('\0');
  message += request.csr();
  message += request.signing_key();
  return crypto::HmacSha256(secret, AsBytes(message));
}

Status RefuseSize(std::string_view field, std::size_t expected, std::size_t got) {
  return InvalidArgument("enrolment request: " + std::string(field) + " must have " +
                         std::to_string(expected) + " bytes, got " + std::to_string(got));
}

bool IsTokenId(std::string_view text) {
  const StatusOr<Bytes> bytes = FromHex(text);
  return bytes.ok() && bytes->size() == kTokenIdBytes && ToHex(*bytes) == text;
}

Status CheckSize(std::string_view what, std::string_view bytes) {
  if (!bytes.empty() && bytes.size() <= kMostMessageBytes) return OkStatus();
  return InvalidArgument(std::string(what) + ": must have 1 to 65536 bytes, got " +
                         std::to_string(bytes.size()));
}

}  // namespace

StatusOr<v1::EnrolmentRequest> MakeEnrolmentRequest(const Token& token,
                                                    const crypto::TlsKey& tls_key,
                                                    const crypto::SigningKey& signing_key) {
  CHORALE_ASSIGN_OR_RETURN(const Bytes csr, crypto::MakeSigningRequest(tls_key));
  v1::EnrolmentRequest request;
  request.set_token_id(token.id);
  request.set_csr(ToString(csr));
  request.set_signing_key(ToString(signing_key.public_key()));
  request.set_key_proof(ToString(signing_key.Sign(kDomain, csr)));
  request.set_token_proof(ToString(TokenProof(request, token.secret.Reveal())));
  return request;
}

StatusOr<v1::EnrolmentRequest> DecodeEnrolmentRequest(std::string_view bytes) {
  CHORALE_RETURN_IF_ERROR(CheckSize("enrolment request", bytes));
  v1::EnrolmentRequest request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return InvalidArgument("enrolment request: not the file that `enrol` wrote, or damaged");
  }
  if (!IsTokenId(request.token_id())) {
    return InvalidArgument("enrolment request: token_id must be 16 characters of [0-9a-f]");
  }
  if (request.csr().empty() || request.csr().size() > kMostCsrBytes) {
    return InvalidArgument("enrolment request: csr must have 1 to 16384 bytes, got " +
                           std::to_string(request.csr().size()));
  }
  if (request.signing_key().size() != crypto::SigningPublicKey().size()) {
    return RefuseSize("signing_key", crypto::SigningPublicKey().size(),
                      request.signing_key().size());
  }
  if (request.key_proof().size() != crypto::kSignatureBytes) {
    return RefuseSize("key_proof", crypto::kSignatureBytes, request.key_proof().size());
  }
  if (request.token_proof().size() != crypto::kDigestBytes) {
    return RefuseSize("token_proof", crypto::kDigestBytes, request.token_proof().size());
  }
  return request;
}

Status VerifyTokenProof(const v1::EnrolmentRequest& request, ByteSpan token_secret) {
  if (crypto::ConstantTimeEqual(TokenProof(request, token_secret),
                                AsBytes(request.token_proof()))) {
    return OkStatus();
  }
  return PermissionDenied("wrong secret for token " + request.token_id() +
                          ": the request was not made with the token that was issued");
}

crypto::SigningPublicKey SigningKeyOf(const v1::EnrolmentRequest& request) {
  crypto::SigningPublicKey key{};
  std::copy_n(request.signing_key().begin(), key.size(), key.begin());
  return key;
}

Status VerifyKeyProof(const v1::EnrolmentRequest& request) {
  const Status status = crypto::VerifySignature(
      SigningKeyOf(request), kDomain, AsBytes(request.csr()), AsBytes(request.key_proof()));
  if (status.ok()) return OkStatus();
  return PermissionDenied("keys not proved: " + MessageOf(status));
}

StatusOr<Bundle> DecodeEnrolmentBundle(std::string_view bytes) {
  CHORALE_RETURN_IF_ERROR(CheckSize("enrolment bundle", bytes));
  v1::EnrolmentBundle bundle;
  if (!bundle.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return InvalidArgument("enrolment bundle: not the file that the authority wrote, or damaged");
  }
  if (!IsTokenId(bundle.token_id())) {
    return InvalidArgument("enrolment bundle: token_id must be 16 characters of [0-9a-f]");
  }
  StatusOr<crypto::Certificate> certificate = crypto::Certificate::FromPem(bundle.certificate());
  if (!certificate.ok()) return Annotate(certificate.status(), "enrolment bundle: certificate");
  StatusOr<crypto::Certificate> root = crypto::Certificate::FromPem(bundle.root_certificate());
  if (!root.ok()) return Annotate(root.status(), "enrolment bundle: root certificate");
  return Bundle{.token_id = bundle.token_id(),
                .certificate = *std::move(certificate),
                .root = *std::move(root)};
}

}  // namespace chorale::identity
