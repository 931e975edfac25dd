#include "secagg/fixed_point.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "secagg/refusal.h"

// GCC takes the width of vectors as an attribute, Clang chooses it.
#if defined(__clang__)
#define CHORALE_AVX512 "avx512f,avx512dq"
#else
#define CHORALE_AVX512 "avx512f,avx512dq,prefer-vector-width=512"
#endif

namespace chorale::secagg {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are little-endian");

__extension__ typedef __int128 Int128;

constexpr double kLeastClip = 1e-200;
constexpr double kLargestClip = 1e200;
// Values that are encoded at once, so that their random words fit the first-level cache.
constexpr std::size_t kBlock = 2048;

// As many digits as a message needs.
std::string Short(double number) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%g", number);
  return text.data();
}

std::int64_t LargestOf(RingBits bits) {
  return static_cast<std::int64_t>((std::uint64_t{1} << (static_cast<int>(bits) - 1)) - 1);
}

// ceil(value * 2^exponent), at most 2^63.
Int128 ScaleUp(double value, int exponent) {
  return static_cast<Int128>(std::ceil(std::min(std::ldexp(value, exponent), 0x1p63)));
}

bool Fits(const Int128 largest, double clip, double noise_margin, std::uint32_t max_sites,
          int exponent) {
  return ScaleUp(clip, exponent) * max_sites + ScaleUp(noise_margin, exponent) <= largest;
}

// Loops over many values, for the compiler to make vector instructions of.
template <typename Value>
struct ValueLoops {
  [[gnu::always_inline]] static bool AreWithin(std::span<const Value> values, double clip) {
    // Counted: GCC makes no vector instructions of a loop that ends early or keeps a bool.
    std::uint64_t num_outside = 0;
    for (const Value value : values) {
      num_outside += std::abs(double{value}) <= clip ? 0 : 1;  // NaN is outside.
    }
    return num_outside == 0;
  }

  // round(value * weight * scale), half away from zero.
  [[gnu::always_inline]] static void RoundNearest(std::span<const Value> values, double weight,
                                                  double scale, std::int64_t* __restrict out) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double scaled = double{values[i]} * weight * scale;
      const auto whole = static_cast<std::int64_t>(scaled);
      // Exact: below 2^53 both fit a double, above there is no fraction. Fused with the product
      // before or not, for the scale is a power of two.
      const double fraction = scaled - static_cast<double>(whole);
      out[i] = whole + (fraction >= 0.5 ? 1 : 0) - (fraction <= -0.5 ? 1 : 0);
    }
  }
};

#if defined(__x86_64__)
template <typename Value>
struct Avx512Loops {
  [[gnu::target(CHORALE_AVX512)]] static bool AreWithin(std::span<const Value> values,
                                                        double clip) {
    return ValueLoops<Value>::AreWithin(values, clip);
  }
  [[gnu::target(CHORALE_AVX512)]] static void RoundNearest(std::span<const Value> values,
                                                           double weight, double scale,
                                                           std::int64_t* out) {
    ValueLoops<Value>::RoundNearest(values, weight, scale, out);
  }
};

bool HasAvx512() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
  return has;
}
#endif

template <typename Value>
bool AreWithin(std::span<const Value> values, double clip) {
#if defined(__x86_64__)
  if (HasAvx512()) return Avx512Loops<Value>::AreWithin(values, clip);
#endif
  return ValueLoops<Value>::AreWithin(values, clip);
}

template <typename Value>
void RoundNearest(std::span<const Value> values, double weight, double scale, std::int64_t* out) {
#if defined(__x86_64__)
  if (HasAvx512()) return Avx512Loops<Value>::RoundNearest(values, weight, scale, out);
#endif
  ValueLoops<Value>::RoundNearest(values, weight, scale, out);
}

// `word` is uniform.
std::int64_t RoundStochastic(double scaled, std::uint64_t word) {
  const double floor = std::floor(scaled);
  const double uniform = static_cast<double>(word >> 11) * 0x1p-53;
  return static_cast<std::int64_t>(floor) + (uniform < scaled - floor ? 1 : 0);
}

template <std::size_t kBytes>
void StoreAll(std::span<const std::int64_t> integers, std::uint8_t* out) {
  for (std::size_t i = 0; i < integers.size(); ++i) {
    std::memcpy(out + i * kBytes, &integers[i], kBytes);
  }
}

template <std::size_t kBytes>
void LoadAll(const std::uint8_t* sum, double scale, std::span<double> out) {
  constexpr int kUnused = 64 - 8 * static_cast<int>(kBytes);
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, sum + i * kBytes, kBytes);
    out[i] = static_cast<double>(static_cast<std::int64_t>(word << kUnused) >> kUnused) * scale;
  }
}

}  // namespace

StatusOr<FixedPoint> FixedPoint::Create(RingBits bits, double clip, std::uint32_t max_sites,
                                        double noise_margin) {
  if (!(clip >= kLeastClip && clip <= kLargestClip)) {
    return InvalidArgument("clip must be in [1e-200, 1e200], got " + Short(clip));
  }
  if (max_sites == 0) return InvalidArgument("max_sites must be at least 1, got 0");
  if (!(noise_margin >= 0 && noise_margin <= kLargestClip)) {
    return InvalidArgument("noise_margin must be in [0, 1e200], got " + Short(noise_margin));
  }
  const std::int64_t largest = LargestOf(bits);
  // The scale without the rounding up of each summand, or one more: then down to where it fits.
  const double bound = static_cast<double>(max_sites) * clip + noise_margin;
  int exponent = std::ilogb(static_cast<double>(largest)) - std::ilogb(bound) + 1;
  const int least = exponent - static_cast<int>(bits) - 2;
  while (exponent >= least && !Fits(largest, clip, noise_margin, max_sites, exponent)) --exponent;
  if (exponent < least) {
    return InvalidArgument("sums of " + std::to_string(max_sites) + " sites do not fit a ring of " +
                           std::to_string(static_cast<int>(bits)) + " bits");
  }
  return FixedPoint(bits, clip, exponent, static_cast<std::int64_t>(ScaleUp(clip, exponent)));
}

StatusOr<FixedPoint> FixedPoint::OfIntegers(RingBits bits, int scale_exponent,
                                            std::uint32_t max_sites) {
  if (max_sites == 0) return InvalidArgument("max_sites must be at least 1, got 0");
  if (scale_exponent < -1000 || scale_exponent > 1000) {
    return InvalidArgument("a scale of 2^" + std::to_string(scale_exponent) + " is beyond doubles");
  }
  const std::int64_t most = LargestOf(bits) / max_sites;
  return FixedPoint(bits, std::ldexp(static_cast<double>(most), -scale_exponent), scale_exponent,
                    most);
}

Status FixedPoint::CheckRoom(std::size_t count, std::size_t size_bytes) const {
  const std::size_t element = ElementBytes(bits_);
  if (size_bytes / element == count && size_bytes % element == 0) return OkStatus();
  return InvalidArgument(std::to_string(count) + " encoded values take " +
                         std::to_string(count * element) + " bytes, got room for " +
                         std::to_string(size_bytes));
}

void FixedPoint::Store(std::span<const std::int64_t> integers, std::uint8_t* out) const {
  switch (bits_) {
    case RingBits::k16:
      return StoreAll<2>(integers, out);
    case RingBits::k24:
      return StoreAll<3>(integers, out);
    case RingBits::k32:
      return StoreAll<4>(integers, out);
    case RingBits::k64:
      return StoreAll<8>(integers, out);
  }
}

Status FixedPoint::EncodeIntegers(std::span<const std::int64_t> values,
                                  std::span<std::uint8_t> out) const {
  CHORALE_RETURN_IF_ERROR(CheckRoom(values.size(), out.size()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] >= -max_magnitude_ && values[i] <= max_magnitude_) continue;
    return Refused(RefusalCode::kValueOutOfRange,
                   "number " + std::to_string(i) + " is beyond what a site may add");
  }
  Store(values, out.data());
  return OkStatus();
}

template <typename Value>
Status FixedPoint::EncodeAll(std::span<const Value> values, double weight, Rounding rounding,
                             RandomSource* random, std::span<std::uint8_t> out) const {
  const std::size_t element = ElementBytes(bits_);
  CHORALE_RETURN_IF_ERROR(CheckRoom(values.size(), out.size()));
  if (rounding == Rounding::kStochastic && random == nullptr) {
    return InvalidArgument("stochastic rounding needs a source of chance");
  }
  if (!AreWithin(values, clip_)) {
    const auto bad = std::ranges::find_if_not(
        values, [&](Value value) { return std::abs(double{value}) <= clip_; });
    return Refused(RefusalCode::kValueOutOfRange, "value " + std::to_string(bad - values.begin()) +
                                                      " is not a number within the clip");
  }
  const double scale = std::ldexp(1.0, scale_exponent_);
  std::array<std::int64_t, kBlock> integers;
  std::array<std::uint8_t, 8 * kBlock> noise;
  for (std::size_t start = 0; start < values.size(); start += kBlock) {
    const std::span<const Value> block =
        values.subspan(start, std::min(kBlock, values.size() - start));
    if (rounding == Rounding::kNearest) {
      RoundNearest(block, weight, scale, integers.data());
    } else {
      random->Fill(std::span(noise).first(8 * block.size()));
      for (std::size_t i = 0; i < block.size(); ++i) {
        std::uint64_t word;
        std::memcpy(&word, noise.data() + 8 * i, sizeof(word));
        integers[i] = RoundStochastic(double{block[i]} * weight * scale, word);
      }
    }
    Store(std::span<const std::int64_t>(integers).first(block.size()),
          out.data() + start * element);
  }
  return OkStatus();
}

Status FixedPoint::Encode(std::span<const float> values, Rounding rounding, RandomSource* random,
                          std::span<std::uint8_t> out) const {
  return EncodeAll(values, 1.0, rounding, random, out);
}

Status FixedPoint::Encode(std::span<const double> values, Rounding rounding, RandomSource* random,
                          std::span<std::uint8_t> out) const {
  return EncodeAll(values, 1.0, rounding, random, out);
}

Status FixedPoint::EncodeWeighted(std::span<const float> values, double weight,
                                  std::span<std::uint8_t> out) const {
  if (!(weight >= 0 && weight <= 1)) {
    return InvalidArgument("a weight must be in [0, 1], got " + Short(weight));
  }
  return EncodeAll(values, weight, Rounding::kNearest, nullptr, out);
}

void FixedPoint::Decode(ByteSpan sum, std::span<double> out) const {
  const double scale = std::ldexp(1.0, -scale_exponent_);
  switch (bits_) {
    case RingBits::k16:
      return LoadAll<2>(sum.data(), scale, out);
    case RingBits::k24:
      return LoadAll<3>(sum.data(), scale, out);
    case RingBits::k32:
      return LoadAll<4>(sum.data(), scale, out);
    case RingBits::k64:
      return LoadAll<8>(sum.data(), scale, out);
  }
}

}  // namespace chorale::secagg
