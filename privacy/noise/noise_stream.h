#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "core/crypto/cipher.h"
#include "core/crypto/secret_bytes.h"
#include "core/ids.h"
#include "core/random.h"
#include "core/status.h"

// Where the noise of differential privacy comes from. Whoever knows a stream, or sees it used
// twice, can subtract the noise: streams are secret, never shared and never opened again.
namespace chorale::privacy {

// What one stream is for within a job at a site.
struct NoiseUse {
  std::uint64_t step = 0;
  std::uint32_t attempt = 0;  // A step that is done again takes noise of its own.
  std::string purpose;        // "gradient", "count", ...: one to 64 characters as in a name.
};

// The ChaCha20 keystream of one use. Movable, never copied; the key and what is buffered are wiped.
// A process that was forked must not use its parent's streams, or both would add the same noise:
// there every call ends the process, as does use after a move. Not thread-safe.
class NoiseStream final : public RandomSource {
 public:
  NoiseStream(NoiseStream&& other) noexcept;
  NoiseStream& operator=(NoiseStream&&) = delete;
  ~NoiseStream() override;

  void Fill(std::span<std::uint8_t> bytes) override;

  // Gives the stream up for `count` streams that have nothing in common with it or each other and
  // depend on nothing but it and their index: for threads.
  [[nodiscard]] std::vector<NoiseStream> Split(std::size_t count) &&;

 private:
  friend class NoiseKey;
  NoiseStream(std::span<const std::uint8_t> key, std::uint64_t nonce);
  void CheckUsable() const;

  crypto::SecretBytes key_;
  std::optional<crypto::ChaCha20Stream> stream_;  // Nothing: moved from.
  std::uint64_t fork_count_ = 0;                  // Of the process that made it.
  std::size_t next_ = kBufferBytes;
  static constexpr std::size_t kBufferBytes = 4096;
  crypto::SecretBytes buffer_{kBufferBytes};
};

// The secret of one job at one site from which all its noise comes. Movable, never copied; wiped.
// Not thread-safe.
class NoiseKey {
 public:
  // Fresh, from the operating system.
  [[nodiscard]] static NoiseKey Generate(const JobId& job, const SiteId& site);
  // INVALID_ARGUMENT unless 32 bytes. Whoever brings a key back after a restart brings back streams
  // that were used: the next attempt then has to have another number.
  [[nodiscard]] static StatusOr<NoiseKey> Create(crypto::SecretBytes key, const JobId& job,
                                                 const SiteId& site);

  // The stream of a use: HKDF-SHA256 of the key over job, site, step, attempt and purpose, each
  // with its length, so that no two uses share one. INVALID_ARGUMENT for a purpose that is no name;
  // ALREADY_EXISTS when this use was opened before; FAILED_PRECONDITION in a forked process.
  [[nodiscard]] StatusOr<NoiseStream> Open(const NoiseUse& use);

 private:
  NoiseKey(crypto::SecretBytes key, const JobId& job, const SiteId& site);

  crypto::SecretBytes key_;
  JobId job_;
  SiteId site_;
  std::uint64_t fork_count_ = 0;
  std::set<std::tuple<std::uint64_t, std::uint32_t, std::string>> opened_;
};

}  // namespace chorale::privacy
