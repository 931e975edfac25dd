#include <array>
#include <string>
#include <utility>

#include "core/crypto/certificate.h"
#include "core/crypto/openssl_handles.h"
#include "core/crypto/random.h"
#include "core/crypto/tls_key.h"
#include "core/crypto/x509_fields.h"

namespace chorale::crypto {
namespace {

// Bits of the key usage extension (RFC 5280, section 4.2.1.3).
constexpr int kDigitalSignature = 0;
constexpr int kKeyCertSign = 5;
constexpr int kCrlSign = 6;

using BitString = std::unique_ptr<ASN1_BIT_STRING, FreeWith<ASN1_BIT_STRING_free>>;
using OctetString = std::unique_ptr<ASN1_OCTET_STRING, FreeWith<ASN1_OCTET_STRING_free>>;
using BasicConstraints = std::unique_ptr<BASIC_CONSTRAINTS, FreeWith<BASIC_CONSTRAINTS_free>>;
using ExtendedKeyUsage = std::unique_ptr<EXTENDED_KEY_USAGE, FreeWith<EXTENDED_KEY_USAGE_free>>;
using AuthorityKeyId = std::unique_ptr<AUTHORITY_KEYID, FreeWith<AUTHORITY_KEYID_free>>;

enum class Criticality { kNonCritical = 0, kCritical = 1 };

void AddExtension(X509* certificate, int nid, void* value, Criticality criticality) {
  CheckOk(
      X509_add1_ext_i2d(certificate, nid, value, static_cast<int>(criticality), X509V3_ADD_DEFAULT),
      "an extension of a certificate");
}

void AddBasicConstraints(X509* certificate, bool is_root) {
  const BasicConstraints constraints(OrDie(BASIC_CONSTRAINTS_new(), "memory for a certificate"));
  if (is_root) {
    constraints->ca = 0xff;
    constraints->pathlen = OrDie(ASN1_INTEGER_new(), "memory for a certificate");
    CheckOk(ASN1_INTEGER_set(constraints->pathlen, 0), "a path length");
  }
  AddExtension(certificate, NID_basic_constraints, constraints.get(), Criticality::kCritical);
}

void AddKeyUsage(X509* certificate, bool is_root) {
  const BitString usage(OrDie(ASN1_BIT_STRING_new(), "memory for a certificate"));
  if (is_root) {
    CheckOk(ASN1_BIT_STRING_set_bit(usage.get(), kKeyCertSign, 1), "a key usage");
    CheckOk(ASN1_BIT_STRING_set_bit(usage.get(), kCrlSign, 1), "a key usage");
  } else {
    CheckOk(ASN1_BIT_STRING_set_bit(usage.get(), kDigitalSignature, 1), "a key usage");
  }
  AddExtension(certificate, NID_key_usage, usage.get(), Criticality::kCritical);
}

void AddExtendedKeyUsage(X509* certificate, bool is_server) {
  const ExtendedKeyUsage usages(OrDie(EXTENDED_KEY_USAGE_new(), "memory for a certificate"));
  const auto push = [&usages](int nid) {
    if (sk_ASN1_OBJECT_push(usages.get(), OBJ_nid2obj(nid)) <= 0) {
      DieOfOpenSsl("memory for a certificate");
    }
  };
  push(NID_client_auth);
  if (is_server) push(NID_server_auth);
  AddExtension(certificate, NID_ext_key_usage, usages.get(), Criticality::kNonCritical);
}

// The leftmost 160 bits of the SHA-256 of the public key (RFC 7093, section 2, method 1).
void AddSubjectKeyId(X509* certificate) {
  static constexpr int kKeyIdBytes = 20;
  const ASN1_BIT_STRING* const key = X509_get0_pubkey_bitstr(certificate);
  const Digest digest =
      Sha256({ASN1_STRING_get0_data(key), static_cast<std::size_t>(ASN1_STRING_length(key))});
  const OctetString id(OrDie(ASN1_OCTET_STRING_new(), "memory for a certificate"));
  CheckOk(ASN1_OCTET_STRING_set(id.get(), digest.data(), kKeyIdBytes), "a key id");
  AddExtension(certificate, NID_subject_key_identifier, id.get(), Criticality::kNonCritical);
}

void AddAuthorityKeyId(X509* certificate, X509* issuer) {
  const ASN1_OCTET_STRING* const issuer_id = X509_get0_subject_key_id(issuer);
  if (issuer_id == nullptr) return;
  const AuthorityKeyId id(OrDie(AUTHORITY_KEYID_new(), "memory for a certificate"));
  id->keyid = OrDie(ASN1_OCTET_STRING_dup(issuer_id), "memory for a certificate");
  AddExtension(certificate, NID_authority_key_identifier, id.get(), Criticality::kNonCritical);
}

void SetRandomSerial(X509* certificate) {
  std::array<std::uint8_t, 16> serial;
  SecureRandom().Fill(serial);
  // Positive, and of the same length every time.
  serial[0] = static_cast<std::uint8_t>((serial[0] & 0x7f) | 0x40);
  CheckOk(ASN1_STRING_set(X509_get_serialNumber(certificate), serial.data(),
                          static_cast<int>(serial.size())),
          "a serial number");
}

X509Certificate MakeUnsigned(const CertificateFields& fields, EVP_PKEY* public_key) {
  X509Certificate certificate(OrDie(X509_new(), "memory for a certificate"));
  CheckOk(X509_set_version(certificate.get(), X509_VERSION_3), "a certificate");
  CheckOk(X509_set_pubkey(certificate.get(), public_key), "the key of a certificate");
  SetRandomSerial(certificate.get());
  WriteFields(fields, certificate.get());
  return certificate;
}

Bytes SignAndEncode(X509* certificate, EVP_PKEY* key) {
  if (X509_sign(certificate, key, EVP_sha256()) <= 0) DieOfOpenSsl("signing a certificate");
  return ToDer<X509>(i2d_X509, certificate);
}

// The key that a signing request asks a certificate for, once the request proves that its sender
// holds it.
StatusOr<Key> ProvedKey(ByteSpan signing_request) {
  if (signing_request.size() > kMostPemBytes) {
    return InvalidArgument("signing request: at most 16384 bytes, got " +
                           std::to_string(signing_request.size()));
  }
  const std::uint8_t* position = signing_request.data();
  const X509Request request(
      d2i_X509_REQ(nullptr, &position, static_cast<long>(signing_request.size())));
  if (request == nullptr || position != signing_request.data() + signing_request.size()) {
    return InvalidArgument("signing request: not PKCS#10 in DER");
  }
  Key key(X509_REQ_get_pubkey(request.get()));
  CHORALE_RETURN_IF_ERROR(CheckP256(key.get(), "signing request"));
  if (X509_REQ_get_signature_nid(request.get()) != NID_ecdsa_with_SHA256 ||
      X509_REQ_verify(request.get(), key.get()) != 1) {
    return InvalidArgument("signing request: its signature does not prove possession of the key");
  }
  return key;
}

}  // namespace

StatusOr<Certificate> Certificate::MakeRoot(const TlsKey& key, const CertificateFields& fields) {
  CHORALE_RETURN_IF_ERROR(ValidateFields(fields));
  const ErrorQueueScope errors;
  const Key loaded = KeyFromPkcs8(key.pkcs8_der_.Reveal());
  const X509Certificate root = MakeUnsigned(fields, loaded.get());
  CheckOk(X509_set_issuer_name(root.get(), X509_get_subject_name(root.get())), "an issuer");
  AddBasicConstraints(root.get(), /*is_root=*/true);
  AddKeyUsage(root.get(), /*is_root=*/true);
  AddSubjectKeyId(root.get());
  AddAuthorityKeyId(root.get(), root.get());
  return FromDer(SignAndEncode(root.get(), loaded.get()));
}

StatusOr<Certificate> Certificate::Issue(const Certificate& root, const TlsKey& root_key,
                                         ByteSpan signing_request, const CertificateFields& fields,
                                         bool is_server) {
  CHORALE_RETURN_IF_ERROR(ValidateFields(fields));
  CHORALE_RETURN_IF_ERROR(root.VerifyKey(root_key));
  if (fields.not_before < root.fields_.not_before || fields.not_after > root.fields_.not_after) {
    return InvalidArgument("certificate: its validity must lie within the root's, from " +
                           FormatTime(root.fields_.not_before) + " to " +
                           FormatTime(root.fields_.not_after));
  }
  const ErrorQueueScope errors;
  CHORALE_ASSIGN_OR_RETURN(const Key public_key, ProvedKey(signing_request));
  const Key issuer_key = KeyFromPkcs8(root_key.pkcs8_der_.Reveal());
  X509* const issuer = root.parsed_->x509.get();
  const X509Certificate certificate = MakeUnsigned(fields, public_key.get());
  CheckOk(X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)), "an issuer");
  AddBasicConstraints(certificate.get(), /*is_root=*/false);
  AddKeyUsage(certificate.get(), /*is_root=*/false);
  AddExtendedKeyUsage(certificate.get(), is_server);
  AddSubjectKeyId(certificate.get());
  AddAuthorityKeyId(certificate.get(), issuer);
  return FromDer(SignAndEncode(certificate.get(), issuer_key.get()));
}

}  // namespace chorale::crypto
