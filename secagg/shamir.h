#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/secret_bytes.h"
#include "core/random.h"
#include "core/status.h"

// Shamir's secret sharing (Communications of the ACM 22, 1979) of 32-byte secrets over the integers
// modulo p = 2^61 - 1: the secret, as a little-endian number, in five limbs of 52 bits, each the
// constant term of a random polynomial of degree threshold - 1. Any `threshold` shares give the
// secret; fewer say nothing about it. Shares carry no proof: who combines checks the secret itself
// against a commitment or a public key.
namespace chorale::secagg {

inline constexpr std::uint64_t kShamirPrime = (std::uint64_t{1} << 61) - 1;
inline constexpr std::size_t kShareLimbs = 5;
inline constexpr std::size_t kShareBytes = 8 * kShareLimbs;
inline constexpr std::size_t kSharedSecretBytes = 32;

// Where the polynomials are evaluated: roster index + 1, never zero.
using ShareIndex = std::uint32_t;

// One share, limbs in [0, p). Wiped on destruction, moved but never copied, never printed.
class SecretShare {
 public:
  using Limbs = std::array<std::uint64_t, kShareLimbs>;

  SecretShare() = default;
  SecretShare(SecretShare&& other) noexcept : limbs_(std::exchange(other.limbs_, {})) {}
  SecretShare& operator=(SecretShare&& other) noexcept {
    limbs_ = std::exchange(other.limbs_, {});
    return *this;
  }
  SecretShare(const SecretShare&) = delete;
  SecretShare& operator=(const SecretShare&) = delete;
  ~SecretShare();

  // Grep for these two.
  [[nodiscard]] const Limbs& Reveal() const { return limbs_; }
  [[nodiscard]] Limbs& MutableReveal() { return limbs_; }

 private:
  Limbs limbs_{};
};

// One share for each of `xs`, in their order. `random` gives the coefficients and must be
// cryptographic outside of tests. INVALID_ARGUMENT unless the secret has 32 bytes,
// 1 <= threshold <= number of xs, and the xs are distinct and not zero.
[[nodiscard]] StatusOr<std::vector<SecretShare>> ShareSecret(const crypto::SecretBytes& secret,
                                                             std::uint32_t threshold,
                                                             std::span<const ShareIndex> xs,
                                                             RandomSource& random);

// Combines shares of one set of holders: the Lagrange coefficients are computed once for all
// secrets. The set must have at least as many holders as the threshold, and may have more.
// Immutable; safe for concurrent use.
class ShareCombiner {
 public:
  // INVALID_ARGUMENT unless the xs are at least one, distinct and not zero.
  [[nodiscard]] static StatusOr<ShareCombiner> Create(std::span<const ShareIndex> xs);

  // The secret of 32 bytes. `shares` are in the order of the xs. INVALID_ARGUMENT for another
  // number of shares; refuses (SHARE_INVALID) a limb of p or more and what combines to more than
  // 32 bytes: some share is wrong. That a wrong share goes unnoticed here is to be expected.
  [[nodiscard]] StatusOr<crypto::SecretBytes> Combine(
      std::span<const SecretShare* const> shares) const;

  [[nodiscard]] std::size_t num_shares() const { return coefficients_.size(); }

 private:
  explicit ShareCombiner(std::vector<std::uint64_t> coefficients)
      : coefficients_(std::move(coefficients)) {}

  std::vector<std::uint64_t> coefficients_;  // [num_shares], of the values at zero.
};

// Five little-endian 64-bit limbs.
void EncodeShare(const SecretShare& share, std::span<std::uint8_t, kShareBytes> out);
// INVALID_ARGUMENT unless 40 bytes; refuses (SHARE_INVALID) a limb of p or more.
[[nodiscard]] StatusOr<SecretShare> DecodeShare(ByteSpan bytes);

}  // namespace chorale::secagg
