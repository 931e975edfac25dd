#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "core/crypto/certificate.h"
#include "core/crypto/openssl_handles.h"
#include "core/status.h"

// Private to the .cc files of this folder: CertificateFields from and to X.509.
namespace chorale::crypto {

// What a Certificate keeps of OpenSSL's.
struct Certificate::Parsed {
  explicit Parsed(X509Certificate certificate) : x509(std::move(certificate)) {}

  X509Certificate x509;

  // The fingerprint of the root that is known to have issued it. Every call of a connection asks,
  // and the answer costs a signature check.
  [[nodiscard]] bool IsKnownToBeIssuedBy(const Digest& root) const {
    const std::lock_guard lock(issuer_mutex_);
    return issuer_ == root;
  }
  void RememberIssuer(const Digest& root) const {
    const std::lock_guard lock(issuer_mutex_);
    issuer_ = root;
  }

 private:
  mutable std::mutex issuer_mutex_;
  mutable std::optional<Digest> issuer_;  // Guarded by issuer_mutex_.
};

// INVALID_ARGUMENT says what a certificate of the federation would not have.
[[nodiscard]] StatusOr<CertificateFields> ReadFields(const X509* certificate);
// Lower-case hexadecimal of a positive number of at most 20 bytes.
[[nodiscard]] StatusOr<std::string> ReadSerial(const X509* certificate);

// Subject, validity and subject alternative name. REQUIRES: ValidateFields is OK.
void WriteFields(const CertificateFields& fields, X509* certificate);

}  // namespace chorale::crypto
