#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "core/bytes.h"
#include "core/crypto/x25519_lanes.h"

// Private to this folder: X25519 of the same eight points with many private keys, from a table of
// the points' multiples. A key then takes about a seventh of the time of MultiplyLanes; the table
// takes as long as three of those.
//
// NOT FOR SECRETS: which parts of the table are read, and so the time, depends on the private key.
namespace chorale::crypto {

class X25519Table {
 public:
  // REQUIRES: HasX25519Lanes().
  explicit X25519Table(std::span<const X25519PublicKey, kX25519Lanes> points);
  X25519Table(const X25519Table&) = delete;
  X25519Table& operator=(const X25519Table&) = delete;
  ~X25519Table();

  // The lanes that MultiplyDisclosed answers for. The others' points are zero or not on the curve
  // but on its twist: only somebody who does not keep to the protocol has such a public key.
  [[nodiscard]] std::bitset<kX25519Lanes> on_curve() const { return on_curve_; }

  // shared[i][lane] = X25519(disclosed_keys[i], points[lane]), all zero for a point of low order
  // and in a lane that is not on the curve. Safe for concurrent use. REQUIRES: as many results as
  // keys; keys of 32 bytes.
  using Shared = std::array<std::array<std::uint8_t, 32>, kX25519Lanes>;
  void MultiplyDisclosed(std::span<const ByteSpan> disclosed_keys, std::span<Shared> shared) const;

 private:
  struct Entries;
  std::unique_ptr<Entries> entries_;
  std::bitset<kX25519Lanes> on_curve_;
};

}  // namespace chorale::crypto
