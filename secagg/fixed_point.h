#pragma once

#include <cstdint>
#include <span>

#include "core/bytes.h"
#include "core/random.h"
#include "core/status.h"
#include "secagg/vector_spec.h"

namespace chorale::secagg {

enum class Rounding {
  kNearest,     // Half away from zero; deterministic.
  kStochastic,  // Up with the probability of the fraction: the mean is the value itself.
};

// Numbers of a known bound as signed integers of a ring: v becomes q = round(v * 2^f), and sums of
// q decode to sums of v. The scale is the largest power of two for which `max_sites` summands at
// the bound and the noise still fit,
//   max_sites * Q + ceil(noise_margin * 2^f) <= 2^(bits-1) - 1   with Q = ceil(clip * 2^f),
// so that no sum ever wraps around: the bound holds for the worst case, not with high probability.
// Immutable; safe for concurrent use.
class FixedPoint {
 public:
  // `clip`: the largest magnitude of a value, in [1e-200, 1e200]. `noise_margin`: 12 standard
  // deviations of the noise in the sum, in the unit of the values; 0 without noise.
  // INVALID_ARGUMENT otherwise, or when the ring is too small for that many sites.
  [[nodiscard]] static StatusOr<FixedPoint> Create(RingBits bits, double clip,
                                                   std::uint32_t max_sites,
                                                   double noise_margin = 0);

  // Whole numbers already: sums of q / 2^scale_exponent, each q at most what `max_sites` of them
  // may be together without wrapping around. INVALID_ARGUMENT: no site, or an exponent beyond 1000.
  [[nodiscard]] static StatusOr<FixedPoint> OfIntegers(RingBits bits, int scale_exponent,
                                                       std::uint32_t max_sites);

  [[nodiscard]] RingBits bits() const { return bits_; }
  // f. Negative when values are larger than the ring.
  [[nodiscard]] int scale_exponent() const { return scale_exponent_; }
  // Q, the largest magnitude of an encoded value.
  [[nodiscard]] std::int64_t max_magnitude() const { return max_magnitude_; }
  [[nodiscard]] double clip() const { return clip_; }

  // values [count], out [count * bits / 8] bytes. `random` is needed for kStochastic alone and may
  // be null otherwise. Refuses (VALUE_OUT_OF_RANGE) NaN, infinities and magnitudes above the clip,
  // naming the place of the first and never the value; `out` is then as before. INVALID_ARGUMENT
  // when the sizes differ or there is no source of chance.
  [[nodiscard]] Status Encode(std::span<const float> values, Rounding rounding,
                              RandomSource* random, std::span<std::uint8_t> out) const;
  [[nodiscard]] Status Encode(std::span<const double> values, Rounding rounding,
                              RandomSource* random, std::span<std::uint8_t> out) const;

  // Rounds values * weight to the nearest; `weight` in [0, 1]. Each value is held against the clip
  // before the weight makes it smaller. INVALID_ARGUMENT for other weights too.
  [[nodiscard]] Status EncodeWeighted(std::span<const float> values, double weight,
                                      std::span<std::uint8_t> out) const;

  // The same of numbers that are encoded already: each at most max_magnitude().
  [[nodiscard]] Status EncodeIntegers(std::span<const std::int64_t> values,
                                      std::span<std::uint8_t> out) const;

  // Elements read as signed numbers, over 2^f. sum [count * bits / 8] bytes, out [count].
  // REQUIRES: the sizes fit.
  void Decode(ByteSpan sum, std::span<double> out) const;

 private:
  FixedPoint(RingBits bits, double clip, int scale_exponent, std::int64_t max_magnitude)
      : bits_(bits), clip_(clip), scale_exponent_(scale_exponent), max_magnitude_(max_magnitude) {}

  [[nodiscard]] Status CheckRoom(std::size_t count, std::size_t size_bytes) const;
  void Store(std::span<const std::int64_t> integers, std::uint8_t* out) const;
  template <typename Value>
  [[nodiscard]] Status EncodeAll(std::span<const Value> values, double weight, Rounding rounding,
                                 RandomSource* random, std::span<std::uint8_t> out) const;

  RingBits bits_;
  double clip_;
  int scale_exponent_;
  std::int64_t max_magnitude_;
};

}  // namespace chorale::secagg
