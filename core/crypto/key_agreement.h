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

// HKDF-SHA256 (RFC 5869). REQUIRES: size <= 255 * 32.
[[nodiscard]] SecretBytes Hkdf(std::span<const std::uint8_t> salt,
                               std::span<const std::uint8_t> input_key,
                               std::span<const std::uint8_t> info, std::size_t size);
[[nodiscard]] SecretBytes HkdfExpand(std::span<const std::uint8_t> pseudorandom_key,
                                     std::span<const std::uint8_t> info, std::size_t size);

}  // namespace chorale::crypto
