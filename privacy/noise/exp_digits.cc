#include "privacy/noise/exp_digits.h"

#include <algorithm>
#include <limits>

namespace chorale::privacy {
namespace {

// A number in [0, 2^64): limb 0 is its whole part, limb i counts 2^(-64 i). The unit in the last
// place is that of the last limb. Everything rounds down.
using Fixed = std::vector<std::uint64_t>;

constexpr std::uint64_t kMaxLimb = std::numeric_limits<std::uint64_t>::max();

Uint128 Join(std::uint64_t high, std::uint64_t low) {
  return static_cast<Uint128>(high) << 64 | low;
}

// REQUIRES: divisor > 0.
void DivideBy(std::uint64_t divisor, Fixed& number) {
  std::uint64_t remainder = 0;
  for (std::uint64_t& limb : number) {
    const Uint128 dividend = Join(remainder, limb);
    limb = static_cast<std::uint64_t>(dividend / divisor);
    remainder = static_cast<std::uint64_t>(dividend % divisor);
  }
}

// REQUIRES: the product is below 2^64.
void MultiplyBy(std::uint64_t factor, Fixed& number) {
  std::uint64_t carry = 0;
  for (std::size_t i = number.size(); i-- > 0;) {
    const Uint128 product = static_cast<Uint128>(number[i]) * factor + carry;
    number[i] = static_cast<std::uint64_t>(product);
    carry = static_cast<std::uint64_t>(product >> 64);
  }
}

// REQUIRES: as many limbs; the product is below 2^64.
Fixed Product(const Fixed& a, const Fixed& b) {
  const std::size_t size = a.size();
  Fixed all(2 * size, 0);  // Limb i + 1 counts what limb i of a result counts.
  for (std::size_t i = size; i-- > 0;) {
    std::uint64_t carry = 0;
    for (std::size_t j = size; j-- > 0;) {
      const Uint128 sum = static_cast<Uint128>(a[i]) * b[j] + all[i + j + 1] + carry;
      all[i + j + 1] = static_cast<std::uint64_t>(sum);
      carry = static_cast<std::uint64_t>(sum >> 64);
    }
    all[i] = carry;
  }
  return Fixed(all.begin() + 1, all.begin() + 1 + static_cast<std::ptrdiff_t>(size));
}

// 1 - x. REQUIRES: 0 <= x <= 1.
void SubtractFromOne(Fixed& x) {
  std::uint64_t borrow = 0;
  for (std::size_t i = x.size(); i-- > 0;) {
    const std::uint64_t minuend = i == 0 ? 1 : 0;
    const std::uint64_t subtrahend = x[i];
    x[i] = minuend - subtrahend - borrow;
    borrow = minuend < static_cast<Uint128>(subtrahend) + borrow ? 1 : 0;
  }
}

void Halve(Fixed& x) {
  std::uint64_t carry = 0;
  for (std::uint64_t& limb : x) {
    const std::uint64_t next = limb << 63;
    limb = limb >> 1 | carry;
    carry = next;
  }
}

// exp(-exponent / denominator) with `places` limbs after the point; off by less than
// 2^(num_halvings + 5) units, where num_halvings is at most 42.
//
// With y = exponent / denominator / 2^h < 1/2: Horner's rule on sum (-y)^n / n! rounds by at most 3
// units a step, which the next step multiplies by y / n <= 1/2, hence by less than 6 in all; y
// itself is off by less than one unit, and N = 16 places + 8 terms leave less than
// 2^-N / N! < (e / 2N)^N < 2^(-64 places), one unit. Each of the h squarings takes the error to at
// most twice that and 2 more: below 2^h (8 + 2) + ... < 2^(h + 5).
Fixed ExpOfMinus(Uint128 exponent, std::uint64_t denominator, std::size_t places) {
  Fixed y(places + 1);
  Uint128 remainder = exponent % denominator;
  y[0] = static_cast<std::uint64_t>(exponent / denominator);
  for (std::size_t i = 1; i <= places; ++i) {
    const Uint128 dividend = remainder << 64;
    y[i] = static_cast<std::uint64_t>(dividend / denominator);
    remainder = dividend % denominator;
  }
  int num_halvings = 0;
  for (; y[0] != 0 || y[1] >> 63 != 0; ++num_halvings) Halve(y);

  Fixed result(places + 1, 0);
  result[0] = 1;
  for (std::uint64_t n = 16 * places + 8; n > 0; --n) {
    result = Product(result, y);
    DivideBy(n, result);
    SubtractFromOne(result);
  }
  for (int i = 0; i < num_halvings; ++i) result = Product(result, result);
  return result;
}

}  // namespace

std::vector<std::uint64_t> DigitsOf(const ScaledExp& number, std::size_t count) {
  // The error of the exponential, at most 2^47 units, is multiplied by scale / divisor <= 2^41,
  // and the division adds one: below 2^89 units. With two limbs to spare that is 2^25 units of the
  // first of them.
  static constexpr std::uint64_t kDoubt = std::uint64_t{1} << 26;
  for (std::size_t places = count + 2;; ++places) {
    Fixed p(places + 1, 0);
    p[0] = 1;
    if (number.exponent != 0) p = ExpOfMinus(number.exponent, number.denominator, places);
    MultiplyBy(number.scale, p);
    DivideBy(number.divisor, p);
    // The limb before the last tells whether the error may have reached the digits asked for. What
    // is too small to be seen at all has zeroes there: p is positive.
    const auto spare = p.end() - 2;
    const bool is_zero =
        std::all_of(p.begin(), spare, [](std::uint64_t limb) { return limb == 0; });
    const bool is_in_doubt = number.exponent != 0 && ((*spare < kDoubt && !is_zero) ||
                                                      *spare > kMaxLimb - kDoubt || p[0] != 0);
    if (is_in_doubt) continue;
    return std::vector<std::uint64_t>(p.begin() + 1,
                                      p.begin() + 1 + static_cast<std::ptrdiff_t>(count));
  }
}

}  // namespace chorale::privacy
