#include "core/crypto/x25519_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/crypto/field_lanes.h"

namespace chorale::crypto {

#if defined(__x86_64__)
namespace {

static_assert(kX25519Lanes == kFieldLanes);

// A signed comb (Lim, Lee 1994; Hamburg 2012, "Fast and compact elliptic-curve cryptography"): the
// scalar has 252 digits that are 1 or -1, written in one row for each tooth. Block and column of a
// place in the rows pick a point of the block's table by the digits of all rows there. Columns are
// walked from the highest, all blocks at once: 36 additions and 8 doublings.
constexpr std::size_t kTeeth = 7;
constexpr std::size_t kBlocks = 4;
constexpr std::size_t kColumns = 9;
constexpr std::size_t kRow = kBlocks * kColumns;
static_assert(kTeeth * kRow == 252);
// The highest tooth's digit is 1 in the table: for -1 the point is negated.
constexpr std::size_t kBlockEntries = std::size_t{1} << (kTeeth - 1);
// Keys whose quotients take one inversion.
constexpr std::size_t kBatch = 64;

using Number = std::uint64_t[kLimbs];
constexpr Number kOne = {1};
constexpr Number kMinusOne = {kLimbMask - 19, kLimbMask, kLimbMask, kLimbMask, kLimbMask};
constexpr Number kA = {486662};  // Of v^2 = u^3 + A u^2 + u.
constexpr Number kRootOfMinusOne = {0x61b274a0ea0b0, 0x0d5a5fc8f189d, 0x7ef5e9cbd0c60,
                                    0x78595a6804c9e, 0x2b8324804fc1d};
constexpr Number kRootOfMinusAMinusTwo = {0x604aaff457e06, 0x2296fa350598d, 0x7f13dfb16874f,
                                          0x35de93d846e01, 0x0f26edf460a00};
constexpr Number kTwiceD = {0x69b9426b2f159, 0x35050762add7a, 0x3cf44c0038052, 0x6738cc7407977,
                            0x2406d9dc56dff};  // d = -121665 / 121666.

CHORALE_IFMA_INLINE void Set(const Number& number, Field& out) {
#pragma GCC unroll 9
  for (std::size_t i = 0; i < kLimbs; ++i) out.limb[i] = Lanes{} + number[i];
}

// out = a in this lane.
void CopyLane(const Field& a, std::size_t lane, Field& out) {
  for (std::size_t i = 0; i < kLimbs; ++i) out.limb[i][lane] = a.limb[i][lane];
}

// The point (x / z, y / z) of -x^2 + y^2 = 1 + d x^2 y^2, and t / z, the product of both (Hisil,
// Wong, Carter, Dawson 2008, "Twisted Edwards curves revisited").
struct Point {
  Field x, y, z, t;
};

// What an addition takes of its second point.
struct Addend {
  Field sides[2];  // y - x, y + x.
  Field twice_dt;
};
struct ProjectiveAddend {
  Addend addend;
  Field twice_z;
};

// What every formula ends with: (e f / (f g), g h / (f g)).
struct Factors {
  Field e, f, g, h;
};

CHORALE_IFMA void SetToZero(Point& out) {
  Set({}, out.x);
  Set(kOne, out.y);
  Set(kOne, out.z);
  Set({}, out.t);
}

// A point that is not added to next needs no t.
CHORALE_IFMA_INLINE void MultiplyOut(const Factors& factors, bool has_t, Point& out) {
  Multiply(factors.e, factors.f, out.x);
  Multiply(factors.g, factors.h, out.y);
  Multiply(factors.f, factors.g, out.z);
  if (has_t) Multiply(factors.e, factors.h, out.t);
}

// Section 3.1 there, for any two points as d is no square. Of -b, sides and sign of t exchanged.
CHORALE_IFMA_INLINE void AddFactors(const Point& a, const Field& twice_z_product, const Addend& b,
                                    bool is_subtracted, Factors& out) {
  Field lower, upper, product, sums[2];
  Subtract(a.y, a.x, lower);
  Multiply(lower, b.sides[is_subtracted ? 1 : 0], lower);
  Add(a.y, a.x, upper);
  Multiply(upper, b.sides[is_subtracted ? 0 : 1], upper);
  Multiply(a.t, b.twice_dt, product);
  Subtract(twice_z_product, product, sums[0]);
  Add(twice_z_product, product, sums[1]);
  Subtract(upper, lower, out.e);
  out.f = sums[is_subtracted ? 1 : 0];
  out.g = sums[is_subtracted ? 0 : 1];
  Add(upper, lower, out.h);
}

CHORALE_IFMA void AddTo(Point& point, const ProjectiveAddend& b, bool is_subtracted) {
  Field twice_z_product;
  Multiply(point.z, b.twice_z, twice_z_product);
  Factors factors;
  AddFactors(point, twice_z_product, b.addend, is_subtracted, factors);
  MultiplyOut(factors, true, point);
}

// Section 3.3 there, with the signs of f and h changed.
CHORALE_IFMA_INLINE void Double(Point& point, bool has_t) {
  Field xx, yy, zz;
  Factors factors;
  Square(point.x, xx);
  Square(point.y, yy);
  Square(point.z, zz);
  Add(zz, zz, zz);
  Add(point.x, point.y, factors.e);
  Square(factors.e, factors.e);
  Add(yy, xx, factors.h);
  Subtract(yy, xx, factors.g);
  Subtract(factors.e, factors.h, factors.e);
  Subtract(zz, factors.g, factors.f);
  MultiplyOut(factors, has_t, point);
}

CHORALE_IFMA void DoubleTimes(Point& point, std::size_t times) {
  for (std::size_t i = 1; i < times; ++i) Double(point, false);
  Double(point, true);
}

CHORALE_IFMA void ToAddend(const Point& point, Addend& out, Field& twice_z) {
  Field twice_d;
  Set(kTwiceD, twice_d);
  Subtract(point.y, point.x, out.sides[0]);
  Add(point.y, point.x, out.sides[1]);
  Multiply(point.t, twice_d, out.twice_dt);
  Add(point.z, point.z, twice_z);
}

// Each by its inverse, with one inversion (Montgomery 1987, section 10.3.1). One zero makes all of
// its lane zero.
CHORALE_IFMA void InvertAll(std::span<Field> numbers) {
  const auto before = std::make_unique_for_overwrite<Field[]>(numbers.size());
  Field product;
  Set(kOne, product);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    before[i] = product;
    Multiply(product, numbers[i], product);
  }
  Invert(product, product);
  for (std::size_t i = numbers.size(); i-- > 0;) {
    Field inverse;
    Multiply(product, before[i], inverse);
    Multiply(product, numbers[i], product);
    numbers[i] = inverse;
  }
  Wipe({reinterpret_cast<std::uint8_t*>(before.get()), numbers.size() * sizeof(Field)});
}

// From (u, v) of Curve25519 to y = (u - 1) / (u + 1) and x = sqrt(-(A + 2)) u / v (RFC 7748,
// section 4.1). Either root v will do, as negation leaves u. The lanes where v^2 is zero or no
// square get the neutral point.
CHORALE_IFMA std::bitset<kFieldLanes> ToPoint(const Field& u, Point& out) {
  Field one, factor, square, inverse_v, check;
  Set(kOne, one);
  Set(kA, factor);
  Add(u, factor, square);
  Multiply(square, u, square);
  Add(square, one, square);
  Multiply(square, u, square);
  // r = (v^2)^((p - 5) / 8) has r^2 v^2 = 1 or -1 for squares, another root of one else.
  RaiseForRoot(square, inverse_v);
  Square(inverse_v, check);
  Multiply(check, square, check);
  Field other_inverse_v;
  Set(kRootOfMinusOne, factor);
  Multiply(inverse_v, factor, other_inverse_v);

  Field minus_one;
  Set(kMinusOne, minus_one);
  std::array<FieldBytes, kFieldLanes> checks, ones, minus_ones;
  Store(check, checks);
  Store(one, ones);
  Store(minus_one, minus_ones);
  std::bitset<kFieldLanes> on_curve;
  for (std::size_t lane = 0; lane < kFieldLanes; ++lane) {
    const bool is_minus_one = checks[lane] == minus_ones[lane];
    on_curve[lane] = is_minus_one || checks[lane] == ones[lane];
    if (is_minus_one) CopyLane(other_inverse_v, lane, inverse_v);
  }

  Field x;
  Set(kRootOfMinusAMinusTwo, factor);
  Multiply(factor, u, x);
  Multiply(x, inverse_v, x);
  Add(u, one, out.z);
  Subtract(u, one, out.y);
  Multiply(x, out.z, out.x);
  Multiply(x, out.y, out.t);
  Point zero;
  SetToZero(zero);
  for (std::size_t lane = 0; lane < kFieldLanes; ++lane) {
    if (on_curve[lane]) continue;
    CopyLane(zero.x, lane, out.x);
    CopyLane(zero.y, lane, out.y);
    CopyLane(zero.z, lane, out.z);
    CopyLane(zero.t, lane, out.t);
  }
  return on_curve;
}

// [block][entry]: the sum, over teeth, of 2^(tooth * kRow + block * kColumns) times 8 P or its
// negative, by the entry's bits. Divided by twice z, so that z is a half.
using Table = Addend[kBlocks][kBlockEntries];

// Returns the lanes of the points that are on the curve.
CHORALE_IFMA std::bitset<kFieldLanes> Fill(std::span<const X25519PublicKey, kX25519Lanes> points,
                                           Table& table) {
  Field u;
  Load(points, u);
  Point power;
  const std::bitset<kFieldLanes> on_curve = ToPoint(u, power);
  DoubleTimes(power, 3);

  struct Tooth {
    ProjectiveAddend once, twice;
  };
  const auto teeth = std::make_unique_for_overwrite<Tooth[]>(kTeeth * kBlocks);
  for (std::size_t i = 0; i < kTeeth * kBlocks; ++i) {
    ToAddend(power, teeth[i].once.addend, teeth[i].once.twice_z);
    DoubleTimes(power, 1);
    ToAddend(power, teeth[i].twice.addend, teeth[i].twice.twice_z);
    DoubleTimes(power, kColumns - 1);
  }

  const auto twice_z = std::make_unique_for_overwrite<Field[]>(kBlocks * kBlockEntries);
  for (std::size_t block = 0; block < kBlocks; ++block) {
    Point sum;
    SetToZero(sum);
    for (std::size_t tooth = 0; tooth < kTeeth; ++tooth) {
      AddTo(sum, teeth[tooth * kBlocks + block].once, tooth + 1 < kTeeth);
    }
    // In the order of Gray's code, where each entry differs from the one before in one digit.
    std::size_t entry = 0;
    for (std::size_t i = 1;; ++i) {
      ToAddend(sum, table[block][entry], twice_z[block * kBlockEntries + entry]);
      if (i == kBlockEntries) break;
      const auto tooth = static_cast<std::size_t>(std::countr_zero(i));
      entry ^= std::size_t{1} << tooth;
      AddTo(sum, teeth[tooth * kBlocks + block].twice, (entry >> tooth & 1) == 0);
    }
  }
  InvertAll({twice_z.get(), kBlocks * kBlockEntries});
  for (std::size_t i = 0; i < kBlocks * kBlockEntries; ++i) {
    Addend& entry = table[i / kBlockEntries][i % kBlockEntries];
    Multiply(entry.sides[0], twice_z[i], entry.sides[0]);
    Multiply(entry.sides[1], twice_z[i], entry.sides[1]);
    Multiply(entry.twice_dt, twice_z[i], entry.twice_dt);
  }
  _mm256_zeroupper();  // As in MultiplyLanes.
  return on_curve;
}

struct Digit {
  std::uint8_t entry;
  bool is_negative;
};
using Digits = std::array<Digit, kRow>;

// The digits of a clamped key k = 8 k' as a multiple k' of 8 P, which has order L or one: k' where
// that is odd, as sums of 252 times 1 or -1 are, else k' - L. With a bit of one for every digit 1
// of a sum s, and of zero for -1, the bits are (s + 2^252 - 1) / 2.
void ToDigits(ByteSpan key, Digits& out) {
  // L = 2^252 + these words.
  constexpr std::uint64_t kOrder[4] = {0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0};
  std::uint64_t words[4];
  std::memcpy(words, key.data(), sizeof(words));
  words[3] = (words[3] | std::uint64_t{1} << 62) & ~(std::uint64_t{1} << 63);
  for (std::size_t i = 0; i < 4; ++i) words[i] = words[i] >> 3 | (i < 3 ? words[i + 1] << 61 : 0);
  if (words[0] % 2 == 1) {
    words[3] |= std::uint64_t{1} << 60;
  } else {
    std::uint64_t borrow = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::uint64_t taken = kOrder[i] + borrow;  // Never wraps.
      borrow = words[i] < taken ? 1 : 0;
      words[i] -= taken;
    }
  }
  for (std::size_t i = 0; i < 4; ++i) words[i] = words[i] >> 1 | (i < 3 ? words[i + 1] << 63 : 0);

  for (std::size_t place = 0; place < kRow; ++place) {
    std::size_t bits = 0;
    for (std::size_t tooth = 0; tooth < kTeeth; ++tooth) {
      const std::size_t at = tooth * kRow + place;
      bits |= (words[at / 64] >> at % 64 & 1) << tooth;
    }
    const bool is_negative = bits < kBlockEntries;
    out[place] = {.entry = static_cast<std::uint8_t>((is_negative ? ~bits : bits) % kBlockEntries),
                  .is_negative = is_negative};
  }
  WipeObject(words);
}

}  // namespace

struct X25519Table::Entries {
  Table table;
};

X25519Table::X25519Table(std::span<const X25519PublicKey, kX25519Lanes> points)
    : entries_(std::make_unique_for_overwrite<Entries>()),
      on_curve_(Fill(points, entries_->table)) {}
X25519Table::~X25519Table() = default;

CHORALE_IFMA void X25519Table::MultiplyDisclosed(std::span<const ByteSpan> disclosed_keys,
                                                 std::span<Shared> shared) const {
  Field numerators[kBatch], denominators[kBatch];
  Digits digits;
  Point sum;
  while (!disclosed_keys.empty()) {
    const std::size_t size = std::min(disclosed_keys.size(), kBatch);
    for (std::size_t i = 0; i < size; ++i) {
      ToDigits(disclosed_keys[i], digits);
      SetToZero(sum);
      for (std::size_t column = kColumns; column-- > 0;) {
        if (column + 1 < kColumns) Double(sum, true);
        for (std::size_t block = 0; block < kBlocks; ++block) {
          const Digit digit = digits[block * kColumns + column];
          Factors factors;
          AddFactors(sum, sum.z, entries_->table[block][digit.entry], digit.is_negative, factors);
          MultiplyOut(factors, block + 1 < kBlocks, sum);
        }
      }
      // u = (1 + y) / (1 - y). Only the neutral point has y = 1: a private key is no multiple of
      // L, so that a lane has it for every key or for none.
      Add(sum.z, sum.y, numerators[i]);
      Subtract(sum.z, sum.y, denominators[i]);
    }
    InvertAll({denominators, size});
    for (std::size_t i = 0; i < size; ++i) {
      Multiply(numerators[i], denominators[i], numerators[i]);
      Store(numerators[i], shared[i]);
    }
    disclosed_keys = disclosed_keys.subspan(size);
    shared = shared.subspan(size);
  }
  WipeObject(numerators);
  WipeObject(denominators);
  WipeObject(digits);
  WipeObject(sum);
  _mm256_zeroupper();
}

#else  // Not x86-64: nobody calls these.

struct X25519Table::Entries {};
X25519Table::X25519Table(std::span<const X25519PublicKey, kX25519Lanes>) {}
X25519Table::~X25519Table() = default;
void X25519Table::MultiplyDisclosed(std::span<const ByteSpan>, std::span<Shared>) const {}

#endif

}  // namespace chorale::crypto
