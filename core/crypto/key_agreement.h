#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/crypto/secret_bytes.h"
#include "core/status.h"

namespace chorale::crypto {

using X25519PublicKey = std::array<std::uint8_t, 32>;

// X25519 (RFC 7748). Safe for concurrent use.
class X25519PrivateKey {
 public:
  X25519PrivateKey(X25519PrivateKey&&) noexcept;
  X25519PrivateKey& operator=(X25519PrivateKey&&) noexcept;
  ~X25519PrivateKey();

  [[nodiscard]] static X25519PrivateKey Generate();
  // INVALID_ARGUMENT unless 32 bytes.
  [[nodiscard]] static StatusOr<X25519PrivateKey> FromBytes(std::span<const std::uint8_t> bytes);

  [[nodiscard]] const X25519PublicKey& public_key() const { return public_key_; }
  [[nodiscard]] const SecretBytes& bytes() const { return bytes_; }
  // INVALID_ARGUMENT when the shared secret is all zero (a low-order point).
  [[nodiscard]] StatusOr<SecretBytes> Agree(const X25519PublicKey& peer) const;
  // Agree with each, in their order: the same answers, sooner than one by one.
  [[nodiscard]] std::vector<StatusOr<SecretBytes>> AgreeAll(
      std::span<const X25519PublicKey> peers) const;

 private:
  // OpenSSL's form of the key: making one takes as long as an agreement.
  struct Loaded;
  explicit X25519PrivateKey(SecretBytes bytes);

  SecretBytes bytes_;
  std::unique_ptr<const Loaded> loaded_;
  X25519PublicKey public_key_;
};

// A private key that is no secret any more, and with whom it agrees.
struct DisclosedKey {
  const X25519PrivateKey* key = nullptr;
  std::vector<std::size_t> peers;  // Indices of public keys, in any order.
};
// result[i][j] is the answer of keys[i].key->Agree(public_keys[keys[i].peers[j]]), several times
// sooner than by AgreeAll where many keys agree with the same peers.
//
// NOT FOR SECRETS: the time this takes, and the memory it reads, depend on the private keys. It is
// for who has been given keys of others that protect nothing from it any more. What comes out is as
// secret as ever, and wiped. REQUIRES: each index is one of `public_keys`.
[[nodiscard]] std::vector<std::vector<StatusOr<SecretBytes>>> AgreeDisclosed(
    std::span<const DisclosedKey> keys, std::span<const X25519PublicKey> public_keys);

// HKDF-SHA256 (RFC 5869). REQUIRES: size <= 255 * 32.
[[nodiscard]] SecretBytes Hkdf(std::span<const std::uint8_t> salt,
                               std::span<const std::uint8_t> input_key,
                               std::span<const std::uint8_t> info, std::size_t size);
[[nodiscard]] SecretBytes HkdfExpand(std::span<const std::uint8_t> pseudorandom_key,
                                     std::span<const std::uint8_t> info, std::size_t size);

}  // namespace chorale::crypto
