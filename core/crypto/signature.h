#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/crypto/secret_bytes.h"
#include "core/status.h"

// Ed25519 (RFC 8032) with domain separation: what is signed is domain || 0x00 || message.
namespace chorale::crypto {

inline constexpr std::size_t kSignatureBytes = 64;
using Signature = std::array<std::uint8_t, kSignatureBytes>;
using SigningPublicKey = std::array<std::uint8_t, 32>;

// Safe for concurrent use.
class SigningKey {
 public:
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;
  ~SigningKey();

  [[nodiscard]] static SigningKey Generate();
  // INVALID_ARGUMENT unless 32 bytes.
  [[nodiscard]] static StatusOr<SigningKey> FromSeed(std::span<const std::uint8_t> seed);

  [[nodiscard]] const SigningPublicKey& public_key() const { return public_key_; }
  [[nodiscard]] Signature Sign(std::string_view domain,
                               std::span<const std::uint8_t> message) const;
  // The 32-byte seed, for storage in a file of mode 0600.
  [[nodiscard]] const SecretBytes& seed() const { return seed_; }

 private:
  // OpenSSL's form of the key: making one takes as long as a signature.
  struct Loaded;
  explicit SigningKey(SecretBytes seed);

  SecretBytes seed_;
  std::unique_ptr<const Loaded> loaded_;
  SigningPublicKey public_key_;
};

// PERMISSION_DENIED when the signature does not fit; INVALID_ARGUMENT for a wrong length.
[[nodiscard]] Status VerifySignature(const SigningPublicKey& key, std::string_view domain,
                                     std::span<const std::uint8_t> message,
                                     std::span<const std::uint8_t> signature);

}  // namespace chorale::crypto
