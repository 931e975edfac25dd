#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "core/bytes.h"
#include "core/crypto/secret_bytes.h"
#include "core/status.h"

namespace chorale::crypto {

inline constexpr std::size_t kAeadNonceBytes = 12;
inline constexpr std::size_t kAeadTagBytes = 16;

// AES-256-GCM (NIST SP 800-38D). A nonce serves one message of one key; associated data is never
// optional: it says what the message is for. Safe for concurrent use.
class AeadKey {
 public:
  // INVALID_ARGUMENT unless 32 bytes.
  [[nodiscard]] static StatusOr<AeadKey> Create(SecretBytes key);

  // Ciphertext followed by the tag.
  [[nodiscard]] Bytes Seal(const std::array<std::uint8_t, kAeadNonceBytes>& nonce,
                           ByteSpan plaintext, ByteSpan associated_data) const;
  // DATA_LOSS when the tag does not fit.
  [[nodiscard]] StatusOr<SecretBytes> Open(const std::array<std::uint8_t, kAeadNonceBytes>& nonce,
                                           ByteSpan sealed, ByteSpan associated_data) const;

 private:
  explicit AeadKey(SecretBytes key) : key_(std::move(key)) {}
  SecretBytes key_;
};

// The AES-CTR keystream (NIST SP 800-38A) from counter block zero: the same key gives the same
// bytes. Keys of 16 or 32 bytes. Not thread-safe.
class CtrStream {
 public:
  // INVALID_ARGUMENT for another key size.
  [[nodiscard]] static StatusOr<CtrStream> Create(const SecretBytes& key);
  CtrStream(CtrStream&&) noexcept;
  CtrStream& operator=(CtrStream&&) noexcept;
  ~CtrStream();

  // Overwrites `out` with the next bytes of the keystream.
  void Generate(std::span<std::uint8_t> out);
  // Moves to byte `offset` of the keystream.
  void Seek(std::uint64_t offset);
  // Byte `offset` of the keystream of another key, without allocating. INVALID_ARGUMENT for another
  // key size; the stream is then as before.
  [[nodiscard]] Status Restart(const SecretBytes& key, std::uint64_t offset);

 private:
  struct State;
  explicit CtrStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The ChaCha20 keystream (Bernstein 2008; RFC 8439 with a 64-bit block counter, from zero, and a
// 64-bit nonce): nonces of one key give streams that have nothing in common. Not thread-safe.
class ChaCha20Stream {
 public:
  // INVALID_ARGUMENT unless 32 bytes.
  [[nodiscard]] static StatusOr<ChaCha20Stream> Create(const SecretBytes& key, std::uint64_t nonce);
  ChaCha20Stream(ChaCha20Stream&&) noexcept;
  ChaCha20Stream& operator=(ChaCha20Stream&&) noexcept;
  ~ChaCha20Stream();

  // Overwrites `out` with the next bytes of the keystream. REQUIRES: not moved from.
  void Generate(std::span<std::uint8_t> out);

 private:
  struct State;
  explicit ChaCha20Stream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace chorale::crypto
