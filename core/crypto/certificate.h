#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/crypto/secret_bytes.h"
#include "core/crypto/signature.h"
#include "core/status.h"
#include "core/time.h"

// X.509: P-256 keys for TLS, names and roles in the subject alternative name. Every PEM or DER
// given here may come from a peer: malformed input is INVALID_ARGUMENT, never a crash.
namespace chorale::crypto {

// A P-256 private key for TLS. Movable only; wiped.
class TlsKey {
 public:
  [[nodiscard]] static TlsKey Generate();
  // INVALID_ARGUMENT unless one unencrypted P-256 key, at most 16 KiB.
  [[nodiscard]] static StatusOr<TlsKey> FromPem(std::string_view pem);
  // PKCS#8 PEM, unencrypted: for a file of mode 0600 and for the TLS stack.
  [[nodiscard]] SecretBytes ToPem() const;

 private:
  explicit TlsKey(SecretBytes pkcs8_der) : pkcs8_der_(std::move(pkcs8_der)) {}
  friend class Certificate;
  friend StatusOr<Bytes> MakeSigningRequest(const TlsKey& key);
  SecretBytes pkcs8_der_;
};

// PKCS#10, DER, with an empty subject: the authority decides the name.
[[nodiscard]] StatusOr<Bytes> MakeSigningRequest(const TlsKey& key);

// What a certificate of the federation says about its holder.
struct CertificateFields {
  std::string common_name;                // For people.
  std::vector<std::string> uris;          // chorale: names and the signing key.
  std::vector<std::string> dns_names;     // For the coordinator's server name.
  std::vector<std::string> ip_addresses;  // Likewise, dotted or colon form.
  Time not_before;
  Time not_after;
};

// INVALID_ARGUMENT names the field that no certificate may carry, its rule and its value: a common
// name of 1 to 64 bytes of UTF-8 without control characters, URIs of visible ASCII, DNS names
// without wildcards, addresses that are addresses, a validity that ends after it begins, between
// the years 1970 and 9999.
[[nodiscard]] Status ValidateFields(const CertificateFields& fields);

// An X.509 certificate, parsed. Immutable and safe for concurrent use.
class Certificate {
 public:
  // Exactly one PEM certificate, at most 16 KiB.
  [[nodiscard]] static StatusOr<Certificate> FromPem(std::string_view pem);
  // A self-signed root: basicConstraints CA:TRUE, path length 0.
  [[nodiscard]] static StatusOr<Certificate> MakeRoot(const TlsKey& key,
                                                      const CertificateFields& fields);
  // Issues an end-entity certificate for the key in `signing_request` (DER) whose own signature
  // must fit. Extended key usage: clientAuth, and serverAuth when `is_server`. Serial: 16 random
  // bytes. INVALID_ARGUMENT names the field at fault; a validity that outlives the root's is one.
  // Times are cut to whole seconds, up to the year 9999.
  [[nodiscard]] static StatusOr<Certificate> Issue(const Certificate& root, const TlsKey& root_key,
                                                   ByteSpan signing_request,
                                                   const CertificateFields& fields, bool is_server);

  [[nodiscard]] const std::string& pem() const { return pem_; }
  [[nodiscard]] const std::string& common_name() const { return fields_.common_name; }
  [[nodiscard]] const CertificateFields& fields() const { return fields_; }
  [[nodiscard]] const std::string& serial() const { return serial_; }  // Lower-case hexadecimal.
  [[nodiscard]] const Digest& fingerprint() const { return fingerprint_; }  // SHA-256 of the DER.

  // UNAUTHENTICATED, with the reason and the dates, unless `root` issued this certificate, this one
  // may issue none itself, and `now` lies within its validity and that of the root.
  [[nodiscard]] Status VerifyIssuedBy(const Certificate& root, Time now) const;
  // INVALID_ARGUMENT unless the private key belongs to this certificate.
  [[nodiscard]] Status VerifyKey(const TlsKey& key) const;

 private:
  struct Parsed;
  Certificate() = default;
  static StatusOr<Certificate> FromDer(ByteSpan der);

  // Shared by copies, which are cheap and never change it.
  std::shared_ptr<const Parsed> parsed_;
  std::string pem_;
  std::string serial_;
  Digest fingerprint_{};
  CertificateFields fields_;
};

}  // namespace chorale::crypto
