#pragma once

#include <cstddef>

#include "core/crypto/digest.h"
#include "core/crypto/secret_bytes.h"
#include "core/random.h"

// Keys and digests that are the same in every run.
namespace chorale::bench {

[[nodiscard]] inline crypto::SecretBytes DrawSecret(RandomSource& random, std::size_t size) {
  crypto::SecretBytes secret(size);
  random.Fill(secret.MutableReveal());
  return secret;
}

[[nodiscard]] inline crypto::Digest DrawDigest(RandomSource& random) {
  crypto::Digest digest;
  random.Fill(digest);
  return digest;
}

}  // namespace chorale::bench
