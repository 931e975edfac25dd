#include "core/crypto/certificate.h"

#include <openssl/pem.h>

#include <algorithm>
#include <utility>

#include "core/crypto/openssl_handles.h"
#include "core/crypto/tls_key.h"
#include "core/crypto/x509_fields.h"

namespace chorale::crypto {
namespace {

constexpr std::string_view kWhitespace = " \t\r\n";

struct OpenSslFree {
  template <typename T>
  void operator()(T* memory) const {
    OPENSSL_free(memory);
  }
};
using StoreContext = std::unique_ptr<X509_STORE_CTX, FreeWith<X509_STORE_CTX_free>>;
struct FreeStack {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }  // Not what it holds.
};
using BorrowedStack = std::unique_ptr<STACK_OF(X509), FreeStack>;

// The one block of the text. Anything beside it is refused: two readers could take different
// certificates from it.
StatusOr<Bytes> DecodePem(std::string_view pem) {
  if (pem.size() > kMostPemBytes) {
    return InvalidArgument("a certificate has at most 16384 bytes of PEM, got " +
                           std::to_string(pem.size()));
  }
  pem.remove_prefix(std::min(pem.find_first_not_of(kWhitespace), pem.size()));
  if (!pem.starts_with("-----BEGIN CERTIFICATE-----")) {
    return InvalidArgument(
        "not a certificate in PEM: it must begin with -----BEGIN CERTIFICATE-----");
  }
  const Bio input(
      OrDie(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), "memory for PEM"));
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  if (PEM_read_bio(input.get(), &name, &header, &data, &size) != 1) {
    return InvalidArgument("not a certificate in PEM: the block is damaged");
  }
  const std::unique_ptr<char, OpenSslFree> name_owner(name);
  const std::unique_ptr<char, OpenSslFree> header_owner(header);
  const std::unique_ptr<unsigned char, OpenSslFree> data_owner(data);
  char* rest = nullptr;
  const long rest_size = BIO_get_mem_data(input.get(), &rest);
  const std::string_view after(rest_size > 0 ? rest : "",
                               rest_size > 0 ? static_cast<std::size_t>(rest_size) : 0);
  if (std::string_view(name) != "CERTIFICATE" || *header != '\0' ||
      after.find_first_not_of(kWhitespace) != std::string_view::npos) {
    return InvalidArgument(
        "a file of exactly one certificate in PEM is expected, without anything else");
  }
  return Bytes(data, data + size);
}

std::string EncodePem(ByteSpan der) {
  const Bio output(OrDie(BIO_new(BIO_s_mem()), "memory for PEM"));
  if (PEM_write_bio(output.get(), "CERTIFICATE", "", der.data(), static_cast<long>(der.size())) <=
      0) {
    DieOfOpenSsl("encoding a certificate as PEM");
  }
  char* text = nullptr;
  const long size = BIO_get_mem_data(output.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

// Why `root` did not issue `leaf`, whatever the time; empty if it did.
std::string ProblemOfPath(X509* leaf, X509* root) {
  static constexpr int kSecurityLevel = 3;  // 128 bits: P-256 with SHA-256.
  const ErrorQueueScope errors;
  if (X509_check_ca(leaf) != 0) return "it is an issuer's certificate, not a member's";
  const BorrowedStack trusted(OrDie(sk_X509_new_null(), "memory for a verification"));
  if (sk_X509_push(trusted.get(), root) <= 0) DieOfOpenSsl("memory for a verification");
  const StoreContext context(OrDie(X509_STORE_CTX_new(), "memory for a verification"));
  CheckOk(X509_STORE_CTX_init(context.get(), nullptr, leaf, nullptr), "starting a verification");
  X509_STORE_CTX_set0_trusted_stack(context.get(), trusted.get());
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context.get());
  // Times are compared against the caller's clock rather than the machine's, and with better words.
  CheckOk(
      X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_X509_STRICT |
                                                  X509_V_FLAG_CHECK_SS_SIGNATURE),
      "starting a verification");
  X509_VERIFY_PARAM_set_auth_level(parameters, kSecurityLevel);
  if (X509_verify_cert(context.get()) == 1) return "";
  return X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
}

Status CheckValidity(const Certificate& certificate, std::string_view what, Time now) {
  const CertificateFields& fields = certificate.fields();
  const std::string subject = std::string(what) + " '" + fields.common_name + "'";
  if (now < fields.not_before) {
    return Unauthenticated(subject + " is not valid before " + FormatTime(fields.not_before) +
                           "; this machine's clock says " + FormatTime(now));
  }
  if (now > fields.not_after) {
    return Unauthenticated(subject + " expired on " + FormatTime(fields.not_after) +
                           "; this machine's clock says " + FormatTime(now));
  }
  return OkStatus();
}

}  // namespace

StatusOr<Certificate> Certificate::FromPem(std::string_view pem) {
  const ErrorQueueScope errors;
  CHORALE_ASSIGN_OR_RETURN(const Bytes der, DecodePem(pem));
  return FromDer(der);
}

StatusOr<Certificate> Certificate::FromDer(ByteSpan der) {
  const std::uint8_t* position = der.data();
  X509Certificate x509(d2i_X509(nullptr, &position, static_cast<long>(der.size())));
  // One certificate has one spelling, or its fingerprint would name nothing.
  if (x509 == nullptr || position != der.data() + der.size() ||
      !std::ranges::equal(ToDer<X509>(i2d_X509, x509.get()), der)) {
    return InvalidArgument("certificate: not an X.509 certificate in DER");
  }
  if (X509_get_version(x509.get()) != X509_VERSION_3) {
    return InvalidArgument("certificate: X.509 version 3 is expected");
  }
  CHORALE_RETURN_IF_ERROR(CheckP256(X509_get0_pubkey(x509.get()), "certificate"));
  // Also makes OpenSSL digest the extensions, so that later use only reads.
  if (X509_check_purpose(x509.get(), -1, 0) != 1) {
    return InvalidArgument("certificate: its extensions are malformed");
  }
  Certificate certificate;
  CHORALE_ASSIGN_OR_RETURN(certificate.fields_, ReadFields(x509.get()));
  CHORALE_ASSIGN_OR_RETURN(certificate.serial_, ReadSerial(x509.get()));
  certificate.fingerprint_ = Sha256(der);
  certificate.pem_ = EncodePem(der);
  certificate.parsed_ = std::make_shared<const Parsed>(std::move(x509));
  return certificate;
}

Status Certificate::VerifyIssuedBy(const Certificate& root, Time now) const {
  if (!parsed_->IsKnownToBeIssuedBy(root.fingerprint())) {
    const std::string problem = ProblemOfPath(parsed_->x509.get(), root.parsed_->x509.get());
    if (!problem.empty()) {
      return Unauthenticated("certificate '" + fields_.common_name +
                             "' was not issued by the root '" + root.common_name() + "' (" +
                             problem + ")");
    }
    parsed_->RememberIssuer(root.fingerprint());
  }
  CHORALE_RETURN_IF_ERROR(CheckValidity(*this, "certificate", now));
  return CheckValidity(root, "root certificate", now);
}

Status Certificate::VerifyKey(const TlsKey& key) const {
  const ErrorQueueScope errors;
  const Key loaded = KeyFromPkcs8(key.pkcs8_der_.Reveal());
  if (EVP_PKEY_eq(X509_get0_pubkey(parsed_->x509.get()), loaded.get()) == 1) return OkStatus();
  return InvalidArgument("the private key does not belong to certificate '" + fields_.common_name +
                         "' (serial " + serial_ + ")");
}

}  // namespace chorale::crypto
