#pragma once

#include "core/bytes.h"
#include "core/crypto/openssl_handles.h"
#include "core/status.h"

// Private to the .cc files of this folder.
namespace chorale::crypto {

// No PEM or DER that is larger is looked at.
inline constexpr std::size_t kMostPemBytes = 16384;

// INVALID_ARGUMENT, with `what` first, unless the key lies on the named curve P-256.
[[nodiscard]] Status CheckP256(const EVP_PKEY* key, std::string_view what);

// REQUIRES: what TlsKey holds.
[[nodiscard]] Key KeyFromPkcs8(ByteSpan der);

// The DER that an i2d_ function writes for an object.
template <typename Object>
[[nodiscard]] Bytes ToDer(int (*encode)(const Object*, unsigned char**), const Object* object) {
  unsigned char* buffer = nullptr;
  const int size = encode(object, &buffer);
  if (size <= 0) DieOfOpenSsl("encoding DER");
  Bytes der(buffer, buffer + size);
  OPENSSL_clear_free(buffer, static_cast<std::size_t>(size));
  return der;
}

}  // namespace chorale::crypto
