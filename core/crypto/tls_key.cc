#include "core/crypto/tls_key.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>

#include <array>
#include <string>
#include <utility>

#include "core/crypto/certificate.h"

namespace chorale::crypto {
namespace {

// Without one, OpenSSL would ask for a password on the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

SecretBytes ToPkcs8(const EVP_PKEY* key) {
  const Pkcs8 info(OrDie(EVP_PKEY2PKCS8(key), "encoding a private key"));
  unsigned char* buffer = nullptr;
  const int size = i2d_PKCS8_PRIV_KEY_INFO(info.get(), &buffer);
  if (size <= 0) DieOfOpenSsl("encoding a private key");
  SecretBytes der(std::span<const std::uint8_t>(buffer, static_cast<std::size_t>(size)));
  OPENSSL_clear_free(buffer, static_cast<std::size_t>(size));
  return der;
}

}  // namespace

Status CheckP256(const EVP_PKEY* key, std::string_view what) {
  std::array<char, 64> group{};
  std::size_t size = 0;
  int is_explicit = 0;
  // Curve parameters spelled out instead of named may differ from P-256 where nobody looks.
  const bool is_p256 = key != nullptr && EVP_PKEY_is_a(key, "EC") == 1 &&
                       EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) == 1 &&
                       std::string_view(group.data(), size) == "prime256v1" &&
                       EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                                              &is_explicit) == 1 &&
                       is_explicit == 0;
  if (is_p256) return OkStatus();
  return InvalidArgument(std::string(what) + ": the key must lie on the named curve P-256");
}

Key KeyFromPkcs8(ByteSpan der) {
  const std::uint8_t* position = der.data();
  const Pkcs8 info(OrDie(d2i_PKCS8_PRIV_KEY_INFO(nullptr, &position, static_cast<long>(der.size())),
                         "decoding a private key"));
  return Key(OrDie(EVP_PKCS82PKEY(info.get()), "decoding a private key"));
}

TlsKey TlsKey::Generate() {
  const Key key(OrDie(EVP_EC_gen("P-256"), "making a P-256 key"));
  return TlsKey(ToPkcs8(key.get()));
}

StatusOr<TlsKey> TlsKey::FromPem(std::string_view pem) {
  if (pem.size() > kMostPemBytes) {
    return InvalidArgument("a private key has at most 16384 bytes of PEM, got " +
                           std::to_string(pem.size()));
  }
  const ErrorQueueScope errors;
  const Bio input(
      OrDie(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), "memory for PEM"));
  const Key key(PEM_read_bio_PrivateKey(input.get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) return InvalidArgument("not an unencrypted private key in PEM");
  CHORALE_RETURN_IF_ERROR(CheckP256(key.get(), "private key"));
  const KeyContext context(
      OrDie(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr), "memory for a key check"));
  if (EVP_PKEY_check(context.get()) != 1) {
    return InvalidArgument("private key: its private and public halves do not fit");
  }
  return TlsKey(ToPkcs8(key.get()));
}

SecretBytes TlsKey::ToPem() const {
  // Secure memory, or at least memory that is cleansed when freed.
  const Bio output(OrDie(BIO_new(BIO_s_secmem()), "memory for PEM"));
  const std::span<const std::uint8_t> der = pkcs8_der_.Reveal();
  if (PEM_write_bio(output.get(), "PRIVATE KEY", "", der.data(), static_cast<long>(der.size())) <=
      0) {
    DieOfOpenSsl("encoding a private key as PEM");
  }
  char* text = nullptr;
  const long size = BIO_get_mem_data(output.get(), &text);
  return SecretBytes(AsBytes(std::string_view(text, static_cast<std::size_t>(size))));
}

StatusOr<Bytes> MakeSigningRequest(const TlsKey& key) {
  const Key loaded = KeyFromPkcs8(key.pkcs8_der_.Reveal());
  const X509Request request(OrDie(X509_REQ_new(), "memory for a signing request"));
  CheckOk(X509_REQ_set_version(request.get(), X509_REQ_VERSION_1), "a signing request");
  CheckOk(X509_REQ_set_pubkey(request.get(), loaded.get()), "a signing request");
  if (X509_REQ_sign(request.get(), loaded.get(), EVP_sha256()) <= 0) {
    DieOfOpenSsl("signing a signing request");
  }
  return ToDer<X509_REQ>(i2d_X509_REQ, request.get());
}

}  // namespace chorale::crypto
