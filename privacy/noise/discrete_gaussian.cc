#include "privacy/noise/discrete_gaussian.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "core/crypto/secret_bytes.h"
#include "privacy/noise/exp_digits.h"

namespace chorale::privacy {

// Random words, a few KiB at a time; wiped.
class WordSource {
 public:
  // `num_samples`: how many are wanted, so that few need few words.
  WordSource(RandomSource& random, std::size_t num_samples)
      : random_(random), size_(std::min(kMostWords, 2 * num_samples + 16)), next_(size_) {}
  WordSource(const WordSource&) = delete;
  WordSource& operator=(const WordSource&) = delete;
  ~WordSource() { crypto::Wipe(bytes()); }

  [[nodiscard]] std::uint64_t Next() {
    if (next_ == size_) {
      random_.Fill(bytes());
      next_ = 0;
    }
    return words_[next_++];
  }

 private:
  static constexpr std::size_t kMostWords = 1024;
  [[nodiscard]] std::span<std::uint8_t> bytes() {
    return {reinterpret_cast<std::uint8_t*>(words_.data()), size_ * sizeof(std::uint64_t)};
  }

  RandomSource& random_;
  std::size_t size_;
  std::size_t next_;
  std::array<std::uint64_t, kMostWords> words_;
};

namespace {

static_assert(std::endian::native == std::endian::little, "words are little-endian");

constexpr std::size_t kSamplesOfAPart = 65536;
// Of the first word of a sample: 8 bits of column, 32 of its coin, a sign, and what is left.
constexpr int kKeepCoinShift = 41;
// Of the second word: the offset below, the first bits of its coin above.
constexpr int kOffsetCoinShift = 37;
constexpr int kOffsetCoinBits = 64 - kOffsetCoinShift;
constexpr std::uint64_t kTotalWeight = std::uint64_t{1} << 40;

// True with probability a / b: the coin's binary digits against those of a / b, until they differ.
// REQUIRES: a <= b < 2^127.
bool IsBelow(Uint128 a, Uint128 b, WordSource& words) {
  if (a == b) return true;
  while (true) {
    std::uint64_t coin = words.Next();
    for (int i = 0; i < 64; ++i, coin <<= 1) {
      a *= 2;
      const bool digit = a >= b;
      if (digit) a -= b;
      const bool bit = coin >> 63 != 0;
      if (bit != digit) return digit;
    }
  }
}

// The rest of algorithm 1 for exp(-a / b) after the first coin, of probability a / b, fell true.
// REQUIRES: a <= b < 2^90.
bool FinishExp(Uint128 a, Uint128 b, WordSource& words) {
  std::uint64_t k = 2;
  while (IsBelow(a, b * k, words)) ++k;
  return k % 2 == 1;
}

}  // namespace

Dyadic DyadicOf(double value) {
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent);
  return {static_cast<std::uint64_t>(std::ldexp(fraction, 53)), exponent - 53};
}

double ToDouble(const Dyadic& number) {
  return std::ldexp(static_cast<double>(number.mantissa), number.exponent);
}

StatusOr<DiscreteGaussian> DiscreteGaussian::Create(const Dyadic& variance) {
  // Beyond these exponents no mantissa fits.
  const bool is_near =
      variance.mantissa != 0 && variance.exponent >= -76 && variance.exponent <= 80;
  const double value = is_near ? ToDouble(variance) : 0;
  if (value < kMinSigma * kMinSigma || value > kMaxSigma * kMaxSigma) {
    return InvalidArgument(
        "the variance of discrete Gaussian noise must be in [2^-12, 2^80], got " +
        std::to_string(variance.mantissa) + " * 2^" + std::to_string(variance.exponent));
  }
  const int shift = std::countl_zero(variance.mantissa);
  return DiscreteGaussian({variance.mantissa << shift, variance.exponent - shift});
}

// The variance is in [2^(63 + exponent), 2^(64 + exponent)): blocks of 2^s that make it, in blocks,
// at least 64 and below 256, or single numbers where it is smaller than that.
DiscreteGaussian::DiscreteGaussian(const Dyadic& normalized)
    : variance_(normalized),
      offset_bits_(std::max(0, (57 + variance_.exponent) >> 1)),
      block_exponent_(2 * offset_bits_ - variance_.exponent - 1) {
  FillWeights();
  FillColumns();
}

ScaledExp DiscreteGaussian::KeptShare(std::uint64_t block) const {
  const bool is_last = block == kNumBlocks - 1;
  return {.exponent = static_cast<Uint128>(block * block) << block_exponent_,
          .denominator = variance_.mantissa,
          .scale = is_last ? 2 * constant_ : constant_,
          .divisor = weights_[block]};
}

// The constant makes the sum of the weights, each rounded up, fit one; block 0 takes what is left,
// at least 3 units, so that its share to keep is below one as well. The last block proposes itself
// with half of its weight, the next with a quarter, and so on.
void DiscreteGaussian::FillWeights() {
  std::array<std::uint64_t, kNumBlocks> upper{};  // Of exp(-q^2 ...), in units of 2^-64.
  Uint128 sum = static_cast<Uint128>(1) << 64;    // Block 0.
  for (std::uint64_t q = 1; q < kNumBlocks; ++q) {
    const ScaledExp mass = {.exponent = static_cast<Uint128>(q * q) << block_exponent_,
                            .denominator = variance_.mantissa};
    upper[q] = DigitsOf(mass, 1)[0] + 1;
    sum += upper[q];
  }
  sum += upper.back();
  constant_ =
      static_cast<std::uint64_t>((static_cast<Uint128>(kTotalWeight - kNumBlocks - 2) << 64) / sum);
  std::uint64_t rest = kTotalWeight;
  for (std::uint64_t q = 1; q < kNumBlocks; ++q) {
    const std::uint64_t share = q == kNumBlocks - 1 ? 2 * constant_ : constant_;
    const Uint128 product = static_cast<Uint128>(upper[q]) * share;
    weights_[q] = static_cast<std::uint64_t>(product >> 64) + 1;
    rest -= weights_[q];
  }
  weights_[0] = rest;

  for (std::uint64_t q = 0; q < kNumBlocks; ++q) {
    kept_[q] = DigitsOf(KeptShare(q), 1)[0];
    // (2 q + 1) / 2 variance, in blocks, bounds the exponent of every offset.
    const Uint128 numerator = static_cast<Uint128>(2 * q + 1)
                              << (std::min(block_exponent_, 90) + kOffsetCoinBits);
    const Uint128 bound = numerator / variance_.mantissa + 1;
    offset_coin_[q] =
        static_cast<std::uint32_t>(std::min(bound, static_cast<Uint128>(1) << kOffsetCoinBits));
  }
}

// Vose 1991, in integers: every column holds 2^32 units, of at most two blocks.
void DiscreteGaussian::FillColumns() {
  constexpr std::uint64_t kColumn = kTotalWeight / kNumBlocks;
  std::array<std::uint64_t, kNumBlocks> left = weights_;
  std::vector<std::uint32_t> small;
  std::vector<std::uint32_t> large;
  for (std::uint32_t i = 0; i < kNumBlocks; ++i) (left[i] < kColumn ? small : large).push_back(i);
  while (!small.empty()) {
    const std::uint32_t low = small.back();
    const std::uint32_t high = large.back();
    small.pop_back();
    columns_[low] = {.threshold = static_cast<std::uint32_t>(left[low]), .alias = high};
    left[high] -= kColumn - left[low];
    if (left[high] < kColumn) {
      large.pop_back();
      small.push_back(high);
    }
  }
  // Exactly full, because nothing was rounded.
  for (const std::uint32_t i : large) columns_[i] = {.threshold = 0, .alias = i};
}

bool DiscreteGaussian::KeepBlock(std::uint64_t block, std::uint64_t coin, WordSource& words) const {
  const std::uint64_t first = kept_[block];
  if (coin != first >> kKeepCoinShift) return coin < first >> kKeepCoinShift;
  const std::uint64_t word = coin << kKeepCoinShift | words.Next() >> (64 - kKeepCoinShift);
  if (word != first) return word < first;
  const ScaledExp share = KeptShare(block);
  for (std::size_t n = 2;; ++n) {
    const std::uint64_t digit = DigitsOf(share, n).back();
    const std::uint64_t next = words.Next();
    if (next != digit) return next < digit;
  }
}

// The coin's first bits came with the offset: a / b against the interval that they leave.
bool DiscreteGaussian::KeepOffset(std::uint64_t block, std::uint64_t offset, std::uint64_t coin,
                                  WordSource& words) const {
  Uint128 a = (static_cast<Uint128>(2 * block) << offset_bits_) * offset +
              static_cast<Uint128>(offset) * offset;
  Uint128 b = variance_.mantissa;
  const int shift = block_exponent_ - 2 * offset_bits_;
  shift >= 0 ? a <<= shift : b <<= -shift;
  if (a < b) {
    const Uint128 scaled = a << kOffsetCoinBits;
    const Uint128 start = coin * b;
    if (scaled <= start) return true;
    const Uint128 rest = scaled - start;
    const bool is_first_true = rest >= b || IsBelow(rest, b, words);
    return !is_first_true || FinishExp(a, b, words);
  }
  for (; a >= b; a -= b) {
    if (!FinishExp(1, 1, words)) return false;
  }
  return !IsBelow(a, b, words) || FinishExp(a, b, words);
}

// The share to keep of the last block is that of its own mass; each block further takes half of the
// envelope, and of the mass exp(-(2 q + 1) ...) <= 0.37.
bool DiscreteGaussian::DrawTail(std::uint64_t& block, WordSource& words) const {
  while (IsBelow(1, 2, words)) {
    const ScaledExp ratio = {.exponent = static_cast<Uint128>(2 * block + 1) << block_exponent_,
                             .denominator = variance_.mantissa,
                             .scale = 2};
    ++block;
    for (std::size_t n = 1;; ++n) {
      const std::uint64_t digit = DigitsOf(ratio, n).back();
      const std::uint64_t next = words.Next();
      if (next > digit) return false;
      if (next < digit) break;
    }
  }
  return true;
}

template <bool kHasOffset>
void DiscreteGaussian::DrawAll(WordSource& words, std::span<std::int64_t> out) const {
  const std::uint64_t offset_mask = (std::uint64_t{1} << offset_bits_) - 1;
  std::size_t i = 0;
  while (i < out.size()) {
    const std::uint64_t word = words.Next();
    const std::uint64_t index = word % kNumBlocks;
    const Column column = columns_[index];
    std::uint64_t block =
        static_cast<std::uint32_t>(word >> 8) < column.threshold ? index : column.alias;
    const std::uint64_t keep_coin = word >> kKeepCoinShift;
    if (keep_coin >= kept_[block] >> kKeepCoinShift && !KeepBlock(block, keep_coin, words)) {
      continue;
    }
    std::uint64_t magnitude = block;
    if (block == kNumBlocks - 1) {
      if (!DrawTail(block, words)) continue;
      magnitude = block;
    }
    if constexpr (kHasOffset) {
      const std::uint64_t second = words.Next();
      const std::uint64_t offset = second & offset_mask;
      const std::uint64_t coin = second >> kOffsetCoinShift;
      const std::uint64_t sure = offset_coin_[std::min<std::uint64_t>(block, kNumBlocks - 1)];
      const bool is_tail = block >= kNumBlocks - 1;
      if ((coin < sure || is_tail) && !KeepOffset(block, offset, coin, words)) continue;
      magnitude = block << offset_bits_ | offset;
    }
    const std::uint64_t sign = word >> 40 & 1;
    out[i] = static_cast<std::int64_t>((magnitude ^ (0 - sign)) + sign);
    i += (magnitude | (sign ^ 1)) != 0 ? 1 : 0;
  }
}

void DiscreteGaussian::Draw(RandomSource& random, std::span<std::int64_t> out) const {
  WordSource words(random, out.size());
  offset_bits_ > 0 ? DrawAll<true>(words, out) : DrawAll<false>(words, out);
}

void DiscreteGaussian::Draw(NoiseStream stream, std::span<std::int64_t> out,
                            int num_threads) const {
  const std::size_t num_parts = (out.size() + kSamplesOfAPart - 1) / kSamplesOfAPart;
  std::vector<NoiseStream> parts = std::move(stream).Split(num_parts);
#pragma omp parallel for schedule(dynamic) num_threads(num_threads)
  for (std::size_t i = 0; i < num_parts; ++i) {
    const std::size_t begin = i * kSamplesOfAPart;
    Draw(parts[i], out.subspan(begin, std::min(kSamplesOfAPart, out.size() - begin)));
  }
}

}  // namespace chorale::privacy
