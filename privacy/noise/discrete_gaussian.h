#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/random.h"
#include "core/status.h"
#include "privacy/noise/noise_stream.h"
#include "privacy/noise/wide_integer.h"

namespace chorale::privacy {

struct ScaledExp;
class WordSource;

// mantissa * 2^exponent, exactly.
struct Dyadic {
  std::uint64_t mantissa = 0;
  int exponent = 0;
  friend bool operator==(const Dyadic&, const Dyadic&) = default;
};

// The value of a finite double that is not negative.
[[nodiscard]] Dyadic DyadicOf(double value);
// The nearest double.
[[nodiscard]] double ToDouble(const Dyadic& number);

// The discrete Gaussian distribution (Canonne, Kamath and Steinke, arXiv 2004.00010): integers x
// with probability proportional to exp(-x^2 / 2 variance), exactly. Nothing is rounded: the
// distribution is the stated one, not a close one, given uniform bits.
//
// How: |x| = q 2^s + r with 2^s about sigma / 11. A table of 256 blocks q with weights in units of
// 2^-40, a little above exp(-(q 2^s)^2 / 2 variance) times a common constant, proposes q; r is
// uniform. What the table has too much is rejected with a coin of probability
// constant / weight * exp(-(q 2^s)^2 / 2 variance), whose digits in base 2^64 are computed as far
// as the coin's own digits agree with them (exp_digits.h): one digit, kept in the table, but once
// in 2^64. The rest, exp(-(2 q 2^s r + r^2) / 2 variance), is a coin by algorithm 1 of the paper,
// where probabilities are rational. Blocks beyond the table follow a geometric envelope. One sign
// in two is refused for zero, as there.
//
// Immutable; Draw is safe for concurrent use with sources of one's own. How long a draw takes
// depends on the values drawn: draw before the data are touched.
class DiscreteGaussian {
 public:
  static constexpr double kMinSigma = 0x1.0p-6;
  static constexpr double kMaxSigma = 0x1.0p40;

  // INVALID_ARGUMENT unless the variance is in [2^-12, 2^80]. Takes milliseconds.
  [[nodiscard]] static StatusOr<DiscreteGaussian> Create(const Dyadic& variance);

  // Overwrites `out`; |x| < 2^47 but for a probability below 2^-700. Reads up to 4 KiB of `random`
  // more than it uses.
  void Draw(RandomSource& random, std::span<std::int64_t> out) const;
  // With the parts of a stream for each 65,536 samples: the same whatever the number of threads.
  // REQUIRES: num_threads >= 1.
  void Draw(NoiseStream stream, std::span<std::int64_t> out, int num_threads) const;

  [[nodiscard]] const Dyadic& variance() const { return variance_; }

 private:
  static constexpr std::size_t kNumBlocks = 256;  // The last stands for itself and all beyond.

  // The alias method (Walker 1977) on 8 + 32 bits: block i with probability threshold / 2^32, else
  // `alias`.
  struct Column {
    std::uint32_t threshold = 0;
    std::uint32_t alias = 0;
  };

  explicit DiscreteGaussian(const Dyadic& normalized);
  void FillWeights();
  void FillColumns();
  template <bool kHasOffset>
  void DrawAll(WordSource& words, std::span<std::int64_t> out) const;

  [[nodiscard]] bool KeepBlock(std::uint64_t block, std::uint64_t coin, WordSource& words) const;
  [[nodiscard]] bool KeepOffset(std::uint64_t block, std::uint64_t offset, std::uint64_t coin,
                                WordSource& words) const;
  // A block beyond the table, or nothing where its envelope is rejected.
  [[nodiscard]] bool DrawTail(std::uint64_t& block, WordSource& words) const;
  [[nodiscard]] ScaledExp KeptShare(std::uint64_t block) const;

  Dyadic variance_;             // With a mantissa of at least 2^63.
  int offset_bits_ = 0;         // s.
  int block_exponent_ = 0;      // 1 / 2 variance, in blocks, is 2^block_exponent / mantissa.
  std::uint64_t constant_ = 0;  // In units of 2^-40.
  std::array<std::uint64_t, kNumBlocks> weights_{};      // In units of 2^-40; their sum is one.
  std::array<std::uint64_t, kNumBlocks> kept_{};         // First digit of the share to keep.
  std::array<std::uint32_t, kNumBlocks> offset_coin_{};  // A coin from here on keeps any offset.
  std::array<Column, kNumBlocks> columns_{};
};

}  // namespace chorale::privacy
