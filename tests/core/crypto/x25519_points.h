#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/crypto/key_agreement.h"
#include "core/random.h"
#include "tests/core/crypto/hex.h"

// Public keys that no honest party has.
namespace chorale::crypto {

// All points of low order: 0, 1, two of order 8, and -1, 0 and 1 with p added.
inline std::vector<X25519PublicKey> LowOrderPoints() {
  std::vector<X25519PublicKey> points;
  for (const std::string_view point :
       {"0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    points.push_back(HexArray<32>(point));
  }
  return points;
}

// Points that a careless field arithmetic gets wrong: around 0, p, 2^255 and 2^256, and with the
// highest bit set, which RFC 7748 ignores.
inline X25519PublicKey EdgePoint(RandomSource& random) {
  X25519PublicKey point;
  point.fill(random.NextBelow(2) == 0 ? 0x00 : 0xff);
  point[0] = static_cast<std::uint8_t>(random.NextBelow(256));
  constexpr std::uint8_t kLast[] = {0x00, 0x7f, 0x80, 0xff};
  point[31] = kLast[random.NextBelow(4)];
  return point;
}

}  // namespace chorale::crypto
