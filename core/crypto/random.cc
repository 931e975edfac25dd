#include "core/crypto/random.h"

#include <openssl/rand.h>

#include <algorithm>

#include "core/crypto/openssl_handles.h"

namespace chorale::crypto {

void SecureRandom::Fill(std::span<std::uint8_t> bytes) {
  // OpenSSL counts in int.
  static constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;
  while (!bytes.empty()) {
    const std::size_t size = std::min(bytes.size(), kMostAtOnce);
    CheckOk(RAND_priv_bytes(bytes.data(), static_cast<int>(size)), "random bytes");
    bytes = bytes.subspan(size);
  }
}

}  // namespace chorale::crypto
