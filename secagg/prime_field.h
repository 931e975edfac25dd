#pragma once

#include <cstdint>

// Private to this folder: integers modulo p = 2^61 - 1, a Mersenne prime: 2^61 is one, so that
// reducing is shifting and adding. Every function takes time that does not depend on the values.
namespace chorale::secagg::prime_field {

__extension__ typedef unsigned __int128 Uint128;

inline constexpr int kPrimeBits = 61;
inline constexpr std::uint64_t kPrime = (std::uint64_t{1} << kPrimeBits) - 1;

// For value < 2 p.
[[nodiscard]] constexpr std::uint64_t ReduceOnce(std::uint64_t value) {
  // All ones when value < p.
  const std::uint64_t is_less = std::uint64_t{0} - ((value - kPrime) >> 63);
  return value - (kPrime & ~is_less);
}

// Any 128-bit value.
[[nodiscard]] constexpr std::uint64_t Reduce(Uint128 value) {
  const std::uint64_t sum = static_cast<std::uint64_t>(value & kPrime) +
                            static_cast<std::uint64_t>(value >> kPrimeBits & kPrime) +
                            static_cast<std::uint64_t>(value >> (2 * kPrimeBits));
  return ReduceOnce((sum & kPrime) + (sum >> kPrimeBits));
}

[[nodiscard]] constexpr std::uint64_t Subtract(std::uint64_t a, std::uint64_t b) {
  return ReduceOnce(a + kPrime - b);
}
[[nodiscard]] constexpr std::uint64_t Multiply(std::uint64_t a, std::uint64_t b) {
  const Uint128 product = static_cast<Uint128>(a) * b;
  return ReduceOnce(static_cast<std::uint64_t>(product & kPrime) +
                    static_cast<std::uint64_t>(product >> kPrimeBits));
}

// a^(p-2) = 1/a (Fermat). REQUIRES: a != 0.
[[nodiscard]] constexpr std::uint64_t Invert(std::uint64_t a) {
  // p - 2 is 59 ones, a zero and a one.
  std::uint64_t power = a;
  for (int i = 0; i < kPrimeBits - 3; ++i) power = Multiply(Multiply(power, power), a);
  power = Multiply(power, power);
  return Multiply(Multiply(power, power), a);
}

// Products of reduced numbers that a 128-bit sum holds beside a reduced number.
inline constexpr int kMaxProducts = 63;

}  // namespace chorale::secagg::prime_field
