#pragma once

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>

// Private to the .cc files of this folder: owners of OpenSSL's objects and its error handling.
namespace chorale::crypto {

template <auto kFree>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeWith<EVP_CIPHER_CTX_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;
using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using Pkcs8 = std::unique_ptr<PKCS8_PRIV_KEY_INFO, FreeWith<PKCS8_PRIV_KEY_INFO_free>>;
using Bio = std::unique_ptr<BIO, FreeWith<BIO_free>>;
using X509Certificate = std::unique_ptr<X509, FreeWith<X509_free>>;
using X509Request = std::unique_ptr<X509_REQ, FreeWith<X509_REQ_free>>;

// Says on standard error what failed and why, then aborts. For what no input can cause: memory,
// entropy, a missing algorithm. Input of others that OpenSSL refuses is a Status.
[[noreturn]] void DieOfOpenSsl(const char* what);

template <typename T>
T* OrDie(T* object, const char* what) {
  if (object == nullptr) DieOfOpenSsl(what);
  return object;
}
inline void CheckOk(int result, const char* what) {
  if (result != 1) DieOfOpenSsl(what);
}

// Forgets the errors of the enclosing scope: refused input leaves entries in the thread's queue,
// which would otherwise be blamed on the next caller (gRPC uses the same queue).
class ErrorQueueScope {
 public:
  ErrorQueueScope();
  ~ErrorQueueScope();
  ErrorQueueScope(const ErrorQueueScope&) = delete;
  ErrorQueueScope& operator=(const ErrorQueueScope&) = delete;
};

}  // namespace chorale::crypto
