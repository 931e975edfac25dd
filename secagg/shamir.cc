#include "secagg/shamir.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "secagg/prime_field.h"
#include "secagg/refusal.h"

namespace chorale::secagg {
namespace {

static_assert(std::endian::native == std::endian::little, "limbs are little-endian");

using prime_field::kPrime;
using prime_field::Uint128;
static_assert(kShamirPrime == kPrime);

constexpr int kLimbBits = 52;
constexpr std::uint64_t kLimbMask = (std::uint64_t{1} << kLimbBits) - 1;
constexpr int kLastLimbBits = 256 - 4 * kLimbBits;

// Secret numbers, wiped on destruction.
class SecretNumbers {
 public:
  explicit SecretNumbers(std::size_t size) : numbers_(size) {}
  SecretNumbers(const SecretNumbers&) = delete;
  SecretNumbers& operator=(const SecretNumbers&) = delete;
  ~SecretNumbers() { crypto::Wipe(bytes()); }

  [[nodiscard]] std::uint64_t& operator[](std::size_t i) { return numbers_[i]; }
  [[nodiscard]] const std::uint64_t* data() const { return numbers_.data(); }
  [[nodiscard]] std::span<std::uint8_t> bytes() {
    return {reinterpret_cast<std::uint8_t*>(numbers_.data()), 8 * numbers_.size()};
  }

 private:
  std::vector<std::uint64_t> numbers_;
};

Status CheckIndices(std::span<const ShareIndex> xs) {
  if (xs.empty()) return InvalidArgument("shares need at least one holder");
  std::vector<ShareIndex> sorted(xs.begin(), xs.end());
  std::sort(sorted.begin(), sorted.end());
  if (sorted.front() == 0) return InvalidArgument("no share has index 0: that is the secret");
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice == sorted.end()) return OkStatus();
  return InvalidArgument("share index " + std::to_string(*twice) + " occurs twice");
}

// Bits [52 l, 52 l + 52) of the little-endian number.
std::uint64_t LimbOf(std::span<const std::uint8_t> secret, std::size_t limb) {
  const std::size_t bit = kLimbBits * limb;
  std::uint64_t word = 0;
  std::memcpy(&word, secret.data() + bit / 8, std::min<std::size_t>(8, secret.size() - bit / 8));
  return word >> (bit % 8) & kLimbMask;
}

// Uniform in [0, p): all ones, the one number of 61 bits that is too large, is drawn again.
void DrawCoefficients(SecretNumbers& coefficients, RandomSource& random) {
  random.Fill(coefficients.bytes());
  for (std::size_t i = 0; 8 * i < coefficients.bytes().size(); ++i) {
    while ((coefficients[i] &= kPrime) == kPrime) {
      random.Fill(coefficients.bytes().subspan(8 * i, 8));
    }
  }
}

// x, x^2, ... in four chains, since a multiplication waits for the one before.
void FillPowers(std::uint64_t x, std::span<std::uint64_t> powers) {
  const std::size_t num_first = std::min<std::size_t>(4, powers.size());
  std::uint64_t power = 1;
  for (std::size_t i = 0; i < num_first; ++i) powers[i] = power = prime_field::Multiply(power, x);
  for (std::size_t i = 4; i < powers.size(); ++i) {
    powers[i] = prime_field::Multiply(powers[i - 4], power);
  }
}

// constant + sum of coefficients[i] * powers[i].
std::uint64_t Evaluate(std::uint64_t constant, const std::uint64_t* coefficients,
                       std::span<const std::uint64_t> powers) {
  std::uint64_t value = constant;
  for (std::size_t start = 0; start < powers.size(); start += prime_field::kMaxProducts) {
    const std::size_t end = std::min<std::size_t>(powers.size(), start + prime_field::kMaxProducts);
    Uint128 sum = value;
    for (std::size_t i = start; i < end; ++i)
      sum += static_cast<Uint128>(coefficients[i]) * powers[i];
    value = prime_field::Reduce(sum);
  }
  return value;
}

}  // namespace

SecretShare::~SecretShare() {
  crypto::Wipe({reinterpret_cast<std::uint8_t*>(limbs_.data()), kShareBytes});
}

StatusOr<std::vector<SecretShare>> ShareSecret(const crypto::SecretBytes& secret,
                                               std::uint32_t threshold,
                                               std::span<const ShareIndex> xs,
                                               RandomSource& random) {
  if (secret.size() != kSharedSecretBytes) {
    return InvalidArgument("a shared secret has 32 bytes, got " + std::to_string(secret.size()));
  }
  CHORALE_RETURN_IF_ERROR(CheckIndices(xs));
  if (threshold == 0 || threshold > xs.size()) {
    return InvalidArgument("the threshold of " + std::to_string(xs.size()) +
                           " shares must be in [1, " + std::to_string(xs.size()) + "], got " +
                           std::to_string(threshold));
  }
  const std::size_t degree = threshold - 1;
  SecretNumbers coefficients(degree * kShareLimbs);
  DrawCoefficients(coefficients, random);

  std::vector<SecretShare> shares(xs.size());
  std::vector<std::uint64_t> powers(degree);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    FillPowers(xs[i], powers);
    for (std::size_t l = 0; l < kShareLimbs; ++l) {
      shares[i].MutableReveal()[l] =
          Evaluate(LimbOf(secret.Reveal(), l), coefficients.data() + l * degree, powers);
    }
  }
  return shares;
}

StatusOr<ShareCombiner> ShareCombiner::Create(std::span<const ShareIndex> xs) {
  CHORALE_RETURN_IF_ERROR(CheckIndices(xs));
  // The value at zero is the sum of y_i L_i with L_i = product of x_j / (x_j - x_i) over j != i
  //                                                 = P / (x_i * product of (x_j - x_i)),
  // where P is the product of all x.
  const std::size_t count = xs.size();
  std::uint64_t product = 1;
  std::vector<std::uint64_t> denominators(count);
  for (std::size_t i = 0; i < count; ++i) {
    product = prime_field::Multiply(product, xs[i]);
    // Four chains, since a multiplication waits for the one before.
    std::array<std::uint64_t, 4> chains = {xs[i], 1, 1, 1};
    for (std::size_t j = 0; j < count; ++j) {
      const std::uint64_t difference = j == i ? 1 : prime_field::Subtract(xs[j], xs[i]);
      chains[j % 4] = prime_field::Multiply(chains[j % 4], difference);
    }
    denominators[i] = prime_field::Multiply(prime_field::Multiply(chains[0], chains[1]),
                                            prime_field::Multiply(chains[2], chains[3]));
  }
  // One inversion for all (Montgomery 1987): before[i] is the product of the first i denominators.
  std::vector<std::uint64_t> before(count + 1, 1);
  for (std::size_t i = 0; i < count; ++i) {
    before[i + 1] = prime_field::Multiply(before[i], denominators[i]);
  }
  std::uint64_t inverse = prime_field::Invert(before[count]);
  std::vector<std::uint64_t> coefficients(count);
  for (std::size_t i = count; i-- > 0;) {
    const std::uint64_t inverted = prime_field::Multiply(inverse, before[i]);
    coefficients[i] = prime_field::Multiply(product, inverted);
    inverse = prime_field::Multiply(inverse, denominators[i]);
  }
  return ShareCombiner(std::move(coefficients));
}

StatusOr<crypto::SecretBytes> ShareCombiner::Combine(
    std::span<const SecretShare* const> shares) const {
  if (shares.size() != coefficients_.size()) {
    return InvalidArgument("these holders combine " + std::to_string(coefficients_.size()) +
                           " shares, got " + std::to_string(shares.size()));
  }
  SecretNumbers limbs(kShareLimbs);
  for (std::size_t l = 0; l < kShareLimbs; ++l) {
    Uint128 sum = 0;
    for (std::size_t i = 0; i < shares.size(); ++i) {
      const std::uint64_t limb = shares[i]->Reveal()[l];
      if (limb >= kPrime) {
        return Refused(RefusalCode::kShareInvalid,
                       "share " + std::to_string(i) + " is out of the field");
      }
      sum += static_cast<Uint128>(coefficients_[i]) * limb;
      if (i % prime_field::kMaxProducts == prime_field::kMaxProducts - 1) {
        sum = prime_field::Reduce(sum);
      }
    }
    limbs[l] = prime_field::Reduce(sum);
    const int bits = l + 1 < kShareLimbs ? kLimbBits : kLastLimbBits;
    if (limbs[l] >> bits != 0) {
      return Refused(RefusalCode::kShareInvalid,
                     "these shares do not combine to a secret of 32 bytes");
    }
  }
  crypto::SecretBytes secret(kSharedSecretBytes);
  const std::span<std::uint8_t> bytes = secret.MutableReveal();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t limb = 8 * i / kLimbBits;
    const std::size_t bit = 8 * i % kLimbBits;
    std::uint64_t value = limbs[limb] >> bit;
    if (bit + 8 > kLimbBits) value |= limbs[limb + 1] << (kLimbBits - bit);
    bytes[i] = static_cast<std::uint8_t>(value);
  }
  return secret;
}

void EncodeShare(const SecretShare& share, std::span<std::uint8_t, kShareBytes> out) {
  std::memcpy(out.data(), share.Reveal().data(), kShareBytes);
}

StatusOr<SecretShare> DecodeShare(ByteSpan bytes) {
  if (bytes.size() != kShareBytes) {
    return InvalidArgument("a share has 40 bytes, got " + std::to_string(bytes.size()));
  }
  SecretShare share;
  std::memcpy(share.MutableReveal().data(), bytes.data(), kShareBytes);
  for (const std::uint64_t limb : share.Reveal()) {
    if (limb >= kPrime) {
      return Refused(RefusalCode::kShareInvalid, "a limb of a share is out of the field");
    }
  }
  return share;
}

}  // namespace chorale::secagg
